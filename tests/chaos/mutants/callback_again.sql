-- A batch does not look whether a callback has come: each settling enqueues it.
-- function: pgqueue.call_back(pgqueue.batches,text,jsonb,uuid)
-- caught as: callback
-- load: flow
-- replace
p_job_id is not null or
-- with
false or
-- end
