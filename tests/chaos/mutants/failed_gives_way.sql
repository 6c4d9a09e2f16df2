-- A failed job gives way to those behind it, though its insert said block.
-- function: pgqueue.leave_order(uuid[])
-- caught as: disorder
-- load: flow
-- replace
(select j.ordering_on_failure from pgqueue.jobs j where j.id = o.job_id) = 'block'
-- with
(select j.ordering_on_failure from pgqueue.jobs j where j.id = o.job_id) = 'never'
-- end
