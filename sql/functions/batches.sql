-- Batches: jobs that share jobs.batch_id, and up to three jobs that are enqueued for what becomes of them:
--   on_failure   when the first of them has failed or was cancelled
--   on_success   when all have succeeded (partial counts)
--   on_complete  when all have finished
-- Each once. A batch is open until close_batch(); only its own unfinished jobs add to it after that. Retrying a job of a finished
-- batch makes the batch unfinished again: on_success follows if it had not, the others do not come twice.
--
-- No row is updated per job: whoever inserts or finishes jobs of a batch appends a row of counts to batch_log; those rows are merged
-- into batches about once a second, by merge_batches(). Who finishes what may be the last job of a closed batch, by those numbers, takes
-- the batch's advisory lock (7067008) after it has appended, and looks again: of two that finish the last two jobs at once the later one
-- has to wait for the earlier one's commit, and sees both. It waits 100 ms at most, which is no deadlock even if the
-- other waits for it; what it then cannot see, merge_batches() sees.
-- The parts: here batches are opened, joined and closed; settle_batches.sql counts and enqueues those jobs.
-- Lock order: everything else, then this lock, then the row of batches. Proved by tests/sql/test_batches.py and tests/races/test_batches.py.

-- Open a batch. The three jobs are objects as enqueue_many() takes them, without keys of their own; their headers get batch_id and
-- batch_event (success, failure or complete). Giving the same p_id again changes nothing. Raises PQ006.
create or replace function pgqueue.open_batch(
    p_name text default null,
    p_on_success jsonb default null,
    p_on_failure jsonb default null,
    p_on_complete jsonb default null,
    p_description text default null,
    p_tenant_id text default null,
    p_id uuid default null
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.check_enqueue('ignore', p_tenant_id);
    v_problem text;
    v_id uuid := coalesce(p_id, pgqueue.uuid_v7());
begin
    select format('%s: %s', c.kind, x.problem) into v_problem
    from (values ('on_success', p_on_success), ('on_failure', p_on_failure), ('on_complete', p_on_complete)) as c (kind, job)
    cross join lateral (select case
        when jsonb_typeof(c.job) <> 'object' then 'it is not a JSON object'
        when coalesce(jsonb_typeof(c.job -> 'job_type'), '') <> 'string' then 'it has no job_type'
        when coalesce(jsonb_typeof(c.job -> 'headers'), 'object') not in ('object', 'null') then 'headers is not an object'
        when c.job ?| '{id,name,idempotency_key,unique_key,tenant_id,batch_id,depends_on}'
            then 'it takes no id, name, key, tenant_id, batch_id or depends_on'
    end as problem) x
    where c.job is not null and x.problem is not null
    limit 1;
    if found then
        raise exception using errcode = 'PQ006', message = v_problem,
            hint = 'Give a job as pgqueue.enqueue_many() takes it, for example {"job_type": "send_report", "payload": {}}.';
    end if;
    insert into pgqueue.batches (id, name, description, tenant_id, on_success, on_failure, on_complete)
    values (v_id, p_name, p_description, v_tenant, p_on_success, p_on_failure, p_on_complete)
    on conflict (id) do nothing;
    if not found then
        perform pgqueue.check_batch(v_id);
    end if;
    return v_id;
end
$$;
revoke all on function pgqueue.open_batch(text, jsonb, jsonb, jsonb, text, text, uuid) from public;

-- Raises PQ010 when there is no such batch, or it is another tenant's than the session's.
create or replace function pgqueue.check_batch(p_batch_id uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
begin
    if not exists (select from pgqueue.batches b where b.id = p_batch_id and (v_tenant is null or b.tenant_id = v_tenant)) then
        raise exception using errcode = 'PQ010', message = format('batch %s does not exist', p_batch_id),
            hint = 'It may have been removed by retention; pgqueue.batch_status shows what is there.';
    end if;
end
$$;
revoke all on function pgqueue.check_batch(uuid) from public;

-- No more jobs from outside: the batch finishes with its last job, at once if none is left. Repeating it is harmless.
-- Waits for transactions that have added to the batch and not committed yet. Raises PQ010.
create or replace function pgqueue.close_batch(p_batch_id uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_batch(p_batch_id);
    perform pg_advisory_xact_lock(7067008, hashtext(p_batch_id::text));
    -- Not by the UPDATE alone: it lets those who hold the row FOR KEY SHARE, join_batch(), go on.
    perform from pgqueue.batches b where b.id = p_batch_id for update;
    update pgqueue.batches b set closed_at = clock_timestamp() where b.id = p_batch_id and b.closed_at is null;
    perform pgqueue.settle_batch(p_batch_id);
end
$$;
revoke all on function pgqueue.close_batch(uuid) from public;

-- p_jobs jobs of this batch have been inserted. Holds the row until the commit, so that nobody closes the batch over them. After
-- that only from inside: store_created() and add_to_batch() say so by a setting, which anybody can set. It is no right: a batch
-- with an unfinished job takes another without harm. One without is over, and stays so.
create or replace function pgqueue.join_batch(p_batch_id uuid, p_jobs bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
    v_closed_at timestamptz;
    v_over boolean;
begin
    -- Not by finished_at alone: a retried job is in the log before that is taken back.
    select b.closed_at, b.finished_at is not null and b.total - b.succeeded - b.failed - b.cancelled + coalesce((
        select sum(l.added - l.succeeded - l.failed - l.cancelled) from pgqueue.batch_log l where l.batch_id = b.id), 0) <= 0
    into v_closed_at, v_over from pgqueue.batches b
    where b.id = p_batch_id and (v_tenant is null or b.tenant_id = v_tenant)
    for key share;
    if not found then
        raise exception using errcode = '23503', constraint = 'jobs_batch_id_exists', schema = 'pgqueue', table = 'jobs', column = 'batch_id',
            message = format('batch %s does not exist', p_batch_id), hint = 'select pgqueue.open_batch() makes one and returns its id.';
    end if;
    if v_closed_at is not null and (v_over or current_setting('pgqueue.inside_batch', true) is distinct from p_batch_id::text) then
        raise exception using errcode = '23514', constraint = 'jobs_batch_id_open', schema = 'pgqueue', table = 'jobs', column = 'batch_id',
            message = format('batch %s was closed at %s', p_batch_id, date_trunc('second', v_closed_at)),
            hint = 'Its own jobs add to it with follow-ups in the same batch, or pgqueue.add_to_batch(); others open a new one.';
    end if;
    insert into pgqueue.batch_log (batch_id, added) values (p_batch_id, p_jobs);
end
$$;
revoke all on function pgqueue.join_batch(uuid, bigint) from public;

-- Add jobs (as enqueue_many() takes them) to the batch of the job that this token owns, closed or not, in the caller's transaction.
-- Raises PQ001, PQ006 when the job is in no batch.
create or replace function pgqueue.add_to_batch(p_job_id uuid, p_token bigint, p_jobs jsonb)
returns table (n bigint, id uuid, inserted boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_job pgqueue.jobs;
begin
    -- Held until the commit: nobody finishes the job, and so the batch, before what it adds is there.
    perform from pgqueue.running r where r.job_id = p_job_id and r.token = p_token for key share;
    if not found then
        perform pgqueue.raise_lease_lost(p_job_id, p_token);
    end if;
    select j.* into v_job from pgqueue.jobs j where j.id = p_job_id;
    if v_job.batch_id is null or jsonb_typeof(p_jobs) is distinct from 'array' then
        raise exception using errcode = 'PQ006',
            message = case when v_job.batch_id is null then format('job %s is in no batch', p_job_id) else 'p_jobs is not a JSON array' end;
    end if;
    return query select i.n, i.id, i.inserted from pgqueue.insert_inside(v_job.batch_id, (
        select jsonb_agg(case when jsonb_typeof(e.job) = 'object' then e.job || jsonb_build_object('batch_id', v_job.batch_id) else e.job end
            order by e.n)
        from jsonb_array_elements(p_jobs) with ordinality as e (job, n)), v_job.tenant_id) i order by i.n;
end
$$;
revoke all on function pgqueue.add_to_batch(uuid, bigint, jsonb) from public;

-- insert_many() for a job of this batch (NULL = none). An element with "same_batch": true goes into it.
create or replace function pgqueue.insert_inside(p_batch_id uuid, p_jobs jsonb, p_tenant_id text)
returns table (n bigint, id uuid, inserted boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_path_exists(p_jobs, '$[*].same_batch') then
        p_jobs := (
            select jsonb_agg(case
                when jsonb_typeof(e.job) <> 'object' then e.job
                when e.job -> 'same_batch' = 'true' and p_batch_id is not null
                    then (e.job - 'same_batch') || jsonb_build_object('batch_id', p_batch_id)
                else e.job - 'same_batch' end order by e.n)
            from jsonb_array_elements(p_jobs) with ordinality as e (job, n));
    end if;
    perform set_config('pgqueue.inside_batch', coalesce(p_batch_id::text, ''), true);
    return query select i.n, i.id, i.inserted from pgqueue.insert_many(p_jobs, 'ignore', p_tenant_id) i;
    perform set_config('pgqueue.inside_batch', '', true);
end
$$;
revoke all on function pgqueue.insert_inside(uuid, jsonb, text) from public;
