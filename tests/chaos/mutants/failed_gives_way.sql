-- A failed job gives way to those behind it, though its insert said block.
-- function: pgqueue.leave_order(uuid[])
-- caught as: disorder
-- load: flow
-- replace
j.ordering_on_failure = 'block'
-- with
j.ordering_on_failure = 'never'
-- end
