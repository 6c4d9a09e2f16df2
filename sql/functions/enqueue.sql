-- Enqueueing by function: what a plain INSERT cannot say, above all what to do about a duplicate.
--
-- on_duplicate tells what happens when an unfinished job holds the same unique_key:
--   ignore    that job serves the request
--   replace   it gets the new payload (and headers) and keeps its time
--   debounce  it gets the new payload and the new time
--   merge     it gets the payloads merged: arrays are appended, other values replaced; it keeps its time
-- If the holder is running, replace, debounce and merge make a follow-up: a job blocked until the holder finishes, which
-- then holds the key. There is at most one; later requests change it. No request is ever dropped.
-- A job with the same idempotency_key is the same job, finished or not, whatever on_duplicate says.
-- All return the id of the job that serves the request. The parts: insert_many.sql reads JSON and inserts what has no keys, duplicates.sql the rest.
-- Proved by tests/races/test_unique_key.py.

-- Raises PQ006 unless p_on_duplicate is known, 42501 when a confined session names another tenant; returns the tenant.
create or replace function pgqueue.check_enqueue(p_on_duplicate text, p_tenant_id text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
begin
    if p_on_duplicate is null or p_on_duplicate not in ('ignore', 'replace', 'debounce', 'merge') then
        raise exception using errcode = 'PQ006', message = format('on_duplicate is %L', p_on_duplicate),
            hint = 'Use ignore, replace, debounce or merge.';
    end if;
    if v_tenant is not null and p_tenant_id is not null and p_tenant_id <> v_tenant then
        raise exception using errcode = '42501', message = format('this role is confined to one tenant and may not enqueue for %L', p_tenant_id);
    end if;
    return coalesce(v_tenant, p_tenant_id);
end
$$;
revoke all on function pgqueue.check_enqueue(text, text) from public;

-- Enqueue one job. p_delay counts from now and yields to p_run_at. Integers are bigint, for clients that send int8.
create or replace function pgqueue.enqueue(
    p_job_type text,
    p_payload jsonb default '{}',
    p_queue text default null,
    p_priority bigint default null,
    p_run_at timestamptz default null,
    p_delay interval default null,
    p_expires_at timestamptz default null,
    p_max_attempts bigint default null,
    p_timeout interval default null,
    p_idempotency_key text default null,
    p_unique_key text default null,
    p_tenant_id text default null,
    p_headers jsonb default null,
    p_on_duplicate text default 'ignore',
    p_id uuid default null,
    p_notify boolean default null,
    p_feed text default null,
    p_callback_url text default null,
    p_depends_on uuid[] default null,
    p_on_parent_failure text default null,
    p_concurrency_key text default null,
    p_ordering_key text default null,
    p_ordering_on_failure text default null,
    p_batch_id uuid default null,
    p_deadline_at timestamptz default null
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job pgqueue.jobs;
    v_id uuid;
begin
    v_job.tenant_id := pgqueue.check_enqueue(p_on_duplicate, p_tenant_id);
    v_job.id := p_id;
    v_job.job_type := p_job_type;
    v_job.queue := p_queue;
    -- What does not fit the column is refused by its name, not as "smallint out of range".
    v_job.priority := case when p_priority not between 0 and 3 then -1 else coalesce(p_priority, 1) end;
    v_job.payload := coalesce(p_payload, '{}');
    v_job.run_at := coalesce(p_run_at, clock_timestamp() + p_delay);
    v_job.expires_at := p_expires_at;
    v_job.max_attempts := case when p_max_attempts not between 1 and 10000 then 0 else p_max_attempts end;
    v_job.timeout := p_timeout;
    v_job.idempotency_key := p_idempotency_key;
    v_job.unique_key := p_unique_key;
    v_job.headers := p_headers;
    v_job.notify := p_notify;
    v_job.feed := p_feed;
    v_job.callback_url := p_callback_url;
    v_job.depends_on := p_depends_on;
    v_job.on_parent_failure := p_on_parent_failure;
    v_job.concurrency_key := p_concurrency_key;
    v_job.ordering_key := p_ordering_key;
    v_job.ordering_on_failure := p_ordering_on_failure;
    v_job.batch_id := p_batch_id;
    v_job.deadline_at := p_deadline_at;
    select i.id into v_id from pgqueue.insert_one(v_job, p_on_duplicate) i;
    return v_id;
end
$$;
revoke all on function pgqueue.enqueue(text, jsonb, text, bigint, timestamptz, interval, timestamptz, bigint, interval, text, text, text, jsonb, text, uuid, boolean, text, text, uuid[], text, text, text, text, uuid, timestamptz) from public;

-- Enqueue a JSON array of jobs: objects whose keys are the columns of pgqueue.jobs, or delay_seconds and timeout_seconds.
-- Returns one row per element, in order: its position from 1, the id of the job that serves it, whether it was inserted.
-- An element may have a "name", by which others of the call refer to it in their depends_on.
-- Jobs without keys go in with one INSERT; those with keys one by one in the order of their keys, so that two calls never deadlock.
create or replace function pgqueue.enqueue_many(p_jobs jsonb, p_on_duplicate text default 'ignore')
returns table (n bigint, id uuid, inserted boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_tenant text := pgqueue.check_enqueue(p_on_duplicate, null);
    v_other text;
begin
    if jsonb_typeof(p_jobs) is distinct from 'array' then
        raise exception using errcode = 'PQ006', message = 'p_jobs is not a JSON array';
    end if;
    if v_tenant is not null then
        select e.job ->> 'tenant_id' into v_other
        from jsonb_array_elements(p_jobs) as e (job) where e.job ->> 'tenant_id' <> v_tenant limit 1;
        perform pgqueue.check_enqueue(p_on_duplicate, v_other);
    end if;
    return query select i.n, i.id, i.inserted from pgqueue.insert_many(p_jobs, p_on_duplicate, v_tenant) i order by i.n;
end
$$;
revoke all on function pgqueue.enqueue_many(jsonb, text) from public;
