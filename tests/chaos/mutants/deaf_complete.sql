-- A transactional completion that lost its job says nothing: what its handler wrote is committed.
-- function: pgqueue.complete(uuid,bigint,jsonb,text,jsonb,jsonb,jsonb,jsonb)
-- caught as: effect
-- replace
        perform pgqueue.raise_lease_lost(p_job_id, p_token);
-- with
        return 'succeeded';
-- end
