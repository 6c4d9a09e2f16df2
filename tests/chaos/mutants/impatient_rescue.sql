-- Workers are given up after an eighth of their lease.
-- function: pgqueue.rescue(integer)
-- caught as: early_reclaim
-- replace
w.heartbeat_at + w.lease < clock_timestamp()
-- with
w.heartbeat_at + w.lease / 8 < clock_timestamp()
-- end
