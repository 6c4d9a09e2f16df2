-- The last job of an ordering key has its turn, not the first.
-- function: pgqueue.gate_room(text[],timestamptz)
-- caught as: disorder
-- load: flow
-- replace
order by w.seq limit 1
-- with
order by w.seq desc limit 1
-- end
