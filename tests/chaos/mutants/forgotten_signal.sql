-- An attempt after the wait does not see its signal, and waits again.
-- function: pgqueue.headers_with_signals(uuid,jsonb)
-- caught as: resumed
-- load: flow
-- replace
s.job_id = p_job_id;
-- with
s.job_id is null;
-- end
