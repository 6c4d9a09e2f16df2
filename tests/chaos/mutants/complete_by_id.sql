-- A report names the job alone: a zombie ends the attempt of its heir.
-- function: pgqueue.complete_owned(uuid[],bigint[],jsonb[])
-- caught as: unkept_word
-- replace
            and coalesce((r.job_id, r.token) in (select g.job_id, g.token from given g), false)
-- with

-- replace
join given g on g.job_id = x.job_id and g.token = x.token
-- with
join given g on g.job_id = x.job_id
-- end
