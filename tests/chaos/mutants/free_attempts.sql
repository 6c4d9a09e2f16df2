-- An attempt that failed is not counted: a job that always fails never ends.
-- function: pgqueue.end_attempt(pgqueue.running,text,jsonb,timestamp with time zone,text,boolean)
-- caught as: attempts
-- replace
p_running.attempt - (not p_counts)::integer
-- with
p_running.attempt - 1
-- end
