-- A report names the job alone: a zombie ends the attempt of its heir.
-- function: pgqueue.complete_owned(uuid[],bigint[],jsonb[],boolean)
-- caught as: unkept_word
-- replace
            and coalesce((r.job_id, r.token) in (
                select u.job_id, u.token from unnest(p_job_ids, p_tokens) as u (job_id, token)), false)
-- with

-- replace
left join given g on g.job_id = x.job_id and g.token = x.token
-- with
left join given g on g.job_id = x.job_id
-- end
