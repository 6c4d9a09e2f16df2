-- A job that failed is not counted in its batch.
-- function: pgqueue.count_in_batches(uuid[],integer)
-- caught as: batch
-- load: flow
-- replace
p_sign * c.failed
-- with
0
-- end
