-- A signal is stored, and nobody looks whether its job waits.
-- function: pgqueue.store_signal(uuid,text,jsonb)
-- caught as: unheard
-- load: flow
-- replace
    perform pgqueue.look_at_signal(p_job_id);
-- with

-- end
