-- Leases count from the beginning of the transaction: those of a long one are born short.
-- function: pgqueue.heartbeat(bigint)
-- caught as: short_lease
-- replace
set heartbeat_at = clock_timestamp()
-- with
set heartbeat_at = now()
-- end
