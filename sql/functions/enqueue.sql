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
-- All return the id of the job that serves the request. Proved by tests/races/test_unique_key.py.

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
    v_job.priority := coalesce(p_priority, 1);
    v_job.payload := coalesce(p_payload, '{}');
    v_job.run_at := coalesce(p_run_at, clock_timestamp() + p_delay);
    v_job.expires_at := p_expires_at;
    v_job.max_attempts := p_max_attempts;
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

-- enqueue_many() without the checks of the caller; p_tenant_id is the tenant of elements that name none.
create or replace function pgqueue.insert_many(p_jobs jsonb, p_on_duplicate text, p_tenant_id text)
returns table (n bigint, id uuid, inserted boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_unknown record;
    v_one record;
    v_job pgqueue.jobs;
begin
    -- Jobs of which nothing else is said, as most are: what follows took 8 ms for 1,000 of them beside 15 of INSERT, this takes 2.
    if not exists (
        select from jsonb_array_elements(p_jobs) as e (job)
        where case when jsonb_typeof(e.job) = 'object' then e.job - '{job_type,queue,priority,payload}'::text[] <> '{}' else true end)
    then
        return query
            with given as materialized (
                select d.n, pgqueue.uuid_v7() as id, d.job_type, d.queue, d.priority, d.payload
                from rows from (jsonb_to_recordset(p_jobs) as (job_type text, queue text, priority smallint, payload jsonb)) with ordinality
                    as d (job_type, queue, priority, payload, n)
            ), stored as (
                insert into pgqueue.jobs (id, job_type, queue, priority, payload, tenant_id)
                select g.id, g.job_type, g.queue, coalesce(g.priority, 1::smallint), coalesce(g.payload, '{}'), p_tenant_id
                from given g
            )
            select g.n, g.id, true from given g;
        return;
    end if;

    select e.n, k.key, jsonb_typeof(e.job) as kind into v_unknown
    from jsonb_array_elements(p_jobs) with ordinality as e (job, n)
    left join lateral jsonb_object_keys(case when jsonb_typeof(e.job) = 'object' then e.job end) as k (key) on true
    where jsonb_typeof(e.job) <> 'object'
        or k.key not in ('id', 'job_type', 'queue', 'priority', 'payload', 'run_at', 'delay_seconds', 'expires_at', 'max_attempts',
            'timeout', 'timeout_seconds', 'idempotency_key', 'unique_key', 'tenant_id', 'headers', 'notify', 'feed', 'callback_url',
            'depends_on', 'on_parent_failure', 'concurrency_key', 'ordering_key', 'ordering_on_failure', 'batch_id', 'deadline_at', 'name')
    limit 1;
    if found then
        raise exception using errcode = 'PQ006',
            message = case when v_unknown.kind <> 'object' then format('job %s is not a JSON object', v_unknown.n)
                else format('job %s has an unknown key %L', v_unknown.n, v_unknown.key) end,
            hint = 'The keys are the columns of pgqueue.jobs that a producer may set, delay_seconds, timeout_seconds and name.';
    end if;

    p_jobs := pgqueue.resolve_names(p_jobs);
    return query
        with given as materialized (
            select d.n, coalesce(d.id, d.name::uuid, pgqueue.uuid_v7()) as id, d.job_type, d.queue, d.priority, d.payload, d.run_at, d.expires_at,
                d.max_attempts, d.timeout, d.tenant_id, d.headers, d.notify, d.feed, d.callback_url,
                d.depends_on, d.on_parent_failure, d.concurrency_key, d.ordering_key, d.ordering_on_failure, d.batch_id, d.deadline_at
            from pgqueue.jobs_of(p_jobs, p_tenant_id) d
            where d.id is null and d.idempotency_key is null and d.unique_key is null
        ), stored as (
            insert into pgqueue.jobs (id, job_type, queue, priority, payload, run_at, expires_at, max_attempts, timeout, tenant_id, headers,
                notify, feed, callback_url, depends_on, on_parent_failure, concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at)
            select g.id, g.job_type, g.queue, g.priority, g.payload, g.run_at, g.expires_at, g.max_attempts, g.timeout, g.tenant_id, g.headers,
                g.notify, g.feed, g.callback_url, g.depends_on, g.on_parent_failure, g.concurrency_key, g.ordering_key, g.ordering_on_failure, g.batch_id, g.deadline_at
            from given g
        )
        select g.n, g.id, true from given g;

    for v_one in
        select d.n, to_jsonb(d) - '{n,name}'::text[] as job from pgqueue.jobs_of(p_jobs, p_tenant_id) d
        where d.id is not null or d.idempotency_key is not null or d.unique_key is not null
        -- Without keys: parents before children, who follow in the order given.
        order by d.tenant_id nulls first, d.unique_key nulls first, d.idempotency_key nulls first, d.depends_on is not null,
            case when d.depends_on is null then d.id end, d.n
    loop
        v_job := jsonb_populate_record(null::pgqueue.jobs, v_one.job);
        return query select v_one.n, i.id, i.inserted from pgqueue.insert_one(v_job, p_on_duplicate) i;
    end loop;
end
$$;
revoke all on function pgqueue.insert_many(jsonb, text, text) from public;

-- In a call whose elements depend on each other, each name becomes the id that its job gets, here and in every depends_on. Jobs
-- that have a name are new, so they take neither id nor keys: those can mean a job that is there already. Raises PQ006.
create or replace function pgqueue.resolve_names(p_jobs jsonb)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_names jsonb;
    v_problem text;
begin
    if not jsonb_path_exists(p_jobs, 'strict $[*] ? (exists (@.name) || exists (@.depends_on))', silent => true) then
        return p_jobs;
    end if;
    select string_agg(format('job %s: %s', e.n, x.problem), '; ' order by e.n) into v_problem
    from jsonb_array_elements(p_jobs) with ordinality as e (job, n)
    cross join lateral (values (case
        when jsonb_typeof(e.job -> 'name') not in ('string', 'null') then 'name is not a string'
        when e.job ->> 'name' is not null and (e.job ->> 'id' is not null or e.job ->> 'idempotency_key' is not null or e.job ->> 'unique_key' is not null)
            then format('%L has a name, so it takes no id, idempotency_key or unique_key', e.job ->> 'name')
        when jsonb_typeof(e.job -> 'depends_on') not in ('array', 'null') then 'depends_on is not an array'
    end)) as x (problem)
    where x.problem is not null;
    if v_problem is null then
        select format('the name %L is given twice', e.job ->> 'name') into v_problem
        from jsonb_array_elements(p_jobs) as e (job) where e.job ->> 'name' is not null
        group by e.job ->> 'name' having count(*) > 1 limit 1;
    end if;
    if v_problem is not null then
        raise exception using errcode = 'PQ006', message = v_problem;
    end if;
    select jsonb_object_agg(e.job ->> 'name', pgqueue.uuid_v7() order by e.n) into v_names
    from jsonb_array_elements(p_jobs) with ordinality as e (job, n) where e.job ->> 'name' is not null;
    select format('depends_on names %L, which is neither a job id nor the name of a job of this call', d.name) into v_problem
    from jsonb_array_elements(p_jobs) as e (job)
    cross join lateral jsonb_array_elements_text(coalesce(nullif(e.job -> 'depends_on', 'null'), '[]')) as d (name)
    where d.name is null or (not coalesce(v_names ? d.name, false) and d.name !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')
    limit 1;
    if found then
        raise exception using errcode = 'PQ006', message = v_problem;
    end if;
    return (
        select jsonb_agg(e.job
            || case when e.job ->> 'name' is null then '{}' else jsonb_build_object('name', v_names -> (e.job ->> 'name')) end
            || case when jsonb_typeof(e.job -> 'depends_on') is distinct from 'array' then '{}' else jsonb_build_object('depends_on', (
                select coalesce(jsonb_agg(coalesce(v_names ->> d.name, d.name) order by d.n), '[]')
                from jsonb_array_elements_text(e.job -> 'depends_on') with ordinality as d (name, n))) end
            order by e.n)
        from jsonb_array_elements(p_jobs) with ordinality as e (job, n));
end
$$;
revoke all on function pgqueue.resolve_names(jsonb) from public;

-- The elements of a JSON array of jobs as rows, with their positions.
create or replace function pgqueue.jobs_of(p_jobs jsonb, p_tenant_id text)
returns table (
    n bigint, id uuid, job_type text, queue text, priority smallint, payload jsonb, run_at timestamptz, expires_at timestamptz,
    max_attempts integer, timeout interval, idempotency_key text, unique_key text, tenant_id text, headers jsonb,
    notify boolean, feed text, callback_url text, depends_on uuid[], on_parent_failure text, concurrency_key text, ordering_key text, ordering_on_failure text, batch_id uuid, deadline_at timestamptz, name text
)
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    select d.n, d.id, d.job_type, d.queue, coalesce(d.priority, 1::smallint), coalesce(d.payload, '{}'),
        coalesce(d.run_at, clock_timestamp() + pgqueue.seconds(d.delay_seconds)), d.expires_at, d.max_attempts,
        coalesce(d.timeout, pgqueue.seconds(d.timeout_seconds)), d.idempotency_key, d.unique_key,
        coalesce(d.tenant_id, p_tenant_id), nullif(d.headers, 'null'), d.notify, d.feed, d.callback_url,
        d.depends_on, d.on_parent_failure, d.concurrency_key, d.ordering_key, d.ordering_on_failure, d.batch_id, d.deadline_at, d.name
    from rows from (jsonb_to_recordset(p_jobs) as (
        id uuid, job_type text, queue text, priority smallint, payload jsonb, run_at timestamptz, delay_seconds double precision,
        expires_at timestamptz, max_attempts integer, timeout interval, timeout_seconds double precision, idempotency_key text,
        unique_key text, tenant_id text, headers jsonb, notify boolean, feed text, callback_url text,
        depends_on uuid[], on_parent_failure text, concurrency_key text, ordering_key text, ordering_on_failure text, batch_id uuid, deadline_at timestamptz, name text)) with ordinality
        as d (id, job_type, queue, priority, payload, run_at, delay_seconds, expires_at, max_attempts, timeout, timeout_seconds,
            idempotency_key, unique_key, tenant_id, headers, notify, feed, callback_url,
            depends_on, on_parent_failure, concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at, name, n);
$$;
revoke all on function pgqueue.jobs_of(jsonb, text) from public;

-- Insert one job or find the one that serves it. The loop ends: each round either inserts, finds, or has seen the one in
-- the way finish. ON CONFLICT waits for an uncommitted holder of the same key, and inserts if that rolls back.
create or replace function pgqueue.insert_one(p_job pgqueue.jobs, p_on_duplicate text)
returns table (id uuid, inserted boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if p_job.depends_on is not null and p_job.unique_key is not null and p_on_duplicate <> 'ignore' then
        raise exception using errcode = 'PQ006', message = format('on_duplicate is %L, and the job has a unique_key and depends_on', p_on_duplicate),
            hint = 'What a job depends on never changes: use ignore.';
    end if;
    for i in 1..1000 loop
        insert into pgqueue.jobs (id, job_type, queue, priority, payload, run_at, expires_at, max_attempts, timeout,
            idempotency_key, unique_key, tenant_id, headers, notify, feed, callback_url, depends_on, on_parent_failure, concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at)
        values (coalesce(p_job.id, pgqueue.uuid_v7()), p_job.job_type, p_job.queue, p_job.priority, p_job.payload, p_job.run_at,
            p_job.expires_at, p_job.max_attempts, p_job.timeout, p_job.idempotency_key, p_job.unique_key, p_job.tenant_id, p_job.headers,
            p_job.notify, p_job.feed, p_job.callback_url, p_job.depends_on, p_job.on_parent_failure,
            p_job.concurrency_key, p_job.ordering_key, p_job.ordering_on_failure,
            p_job.batch_id, p_job.deadline_at)
        on conflict do nothing
        returning jobs.id into id;
        if found then
            inserted := true;
            return next;
            return;
        end if;
        inserted := false;
        id := (
            select j.id from pgqueue.jobs j where j.tenant_id = p_job.tenant_id and j.idempotency_key = p_job.idempotency_key
            union all
            select j.id from pgqueue.jobs j
            where p_job.tenant_id is null and j.tenant_id is null and j.idempotency_key = p_job.idempotency_key
            union all
            select j.id from pgqueue.jobs j where j.id = p_job.id and j.tenant_id is not distinct from p_job.tenant_id
            limit 1);
        if id is null and p_job.unique_key is not null then
            select s.id, s.inserted into id, inserted from pgqueue.serve_duplicate(p_job, p_on_duplicate) s;
        end if;
        if id is not null then
            return next;
            return;
        end if;
        if (p_job.unique_key is null and p_job.idempotency_key is null)
            or exists (select from pgqueue.jobs j where j.id = p_job.id and j.tenant_id is distinct from p_job.tenant_id)
        then
            raise exception using errcode = '23505', constraint = 'jobs_pkey', schema = 'pgqueue', table = 'jobs',
                message = format('job id %s is taken', p_job.id);
        end if;
    end loop;
    raise exception using errcode = '40001', message = 'the unique key changed hands a thousand times in between: try again';
end
$$;
revoke all on function pgqueue.insert_one(pgqueue.jobs, text) from public;

-- An unfinished job holds the unique key: let it, or its follow-up, serve the request. No row = the key is free by now.
-- Locks the holder's jobs row, then its waiting row or its follow-up's: whoever finishes the holder waits for that.
create or replace function pgqueue.serve_duplicate(p_job pgqueue.jobs, p_on_duplicate text)
returns table (id uuid, inserted boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_holder uuid;
    v_follow_up uuid;
begin
    select h.id into v_holder
    from (
        select j.id from pgqueue.jobs j where j.tenant_id = p_job.tenant_id and j.unique_key = p_job.unique_key
        union all
        select j.id from pgqueue.jobs j where p_job.tenant_id is null and j.tenant_id is null and j.unique_key = p_job.unique_key
    ) h;
    if v_holder is null then
        return;
    end if;
    id := v_holder;
    inserted := false;
    if p_on_duplicate = 'ignore' then
        return next;
        return;
    end if;
    perform from pgqueue.jobs j where j.id = v_holder and j.unique_key = p_job.unique_key for update;
    if not found then
        return;
    end if;
    select b.job_id into v_follow_up from pgqueue.blocked b where b.waits_for = v_holder and b.reason = 'follow_up';
    if v_follow_up is null and exists (select from pgqueue.running r where r.job_id = v_holder) then
        begin
            id := pgqueue.insert_follow_up(p_job, v_holder);
        exception when unique_violation then
            -- Its idempotency key or id was taken meanwhile: look again.
            return;
        end;
        -- A new version of the row: who completes the holder with a snapshot from before the follow-up gets 40001 for it
        -- instead of leaving the follow-up blocked for ever.
        update pgqueue.jobs j set unique_key = j.unique_key where j.id = v_holder;
        inserted := true;
        return next;
        return;
    end if;
    begin
        id := coalesce(v_follow_up, v_holder);
        update pgqueue.jobs j set
            payload = case when p_on_duplicate = 'merge' then pgqueue.merge_payloads(j.payload, p_job.payload) else p_job.payload end,
            headers = coalesce(p_job.headers, j.headers),
            run_at = case when p_on_duplicate = 'debounce' then p_job.run_at else j.run_at end
        where j.id = coalesce(v_follow_up, v_holder);
        return next;
    exception when sqlstate 'PQ002' then
        -- It was claimed, or the follow-up cancelled, between the look and the update: look again.
        return;
    end;
end
$$;
revoke all on function pgqueue.serve_duplicate(pgqueue.jobs, text) from public;

-- A job that waits until p_holder finishes and then takes over its unique key. The caller holds the holder's jobs row.
create or replace function pgqueue.insert_follow_up(p_job pgqueue.jobs, p_holder uuid)
returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    insert into pgqueue.jobs (id, job_type, queue, priority, payload, run_at, expires_at, max_attempts, timeout,
        idempotency_key, tenant_id, headers, notify, feed, callback_url, concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at)
    values (coalesce(p_job.id, pgqueue.uuid_v7()), p_job.job_type, p_job.queue, p_job.priority, p_job.payload, p_job.run_at,
        p_job.expires_at, p_job.max_attempts, p_job.timeout, p_job.idempotency_key, p_job.tenant_id, p_job.headers,
        p_job.notify, p_job.feed, p_job.callback_url, p_job.concurrency_key, p_job.ordering_key, p_job.ordering_on_failure, p_job.batch_id, p_job.deadline_at)
    returning id into v_id;
    -- The insert's trigger has placed it as any other job; nobody has seen that yet.
    with moved as (
        delete from pgqueue.ready r where r.job_id = v_id
        returning r.job_id, r.queue, r.priority, r.job_type, r.flags, r.expires_at
    )
    insert into pgqueue.blocked (job_id, reason, waits_for, unique_key, run_at, queue, priority, job_type, flags, expires_at)
    select m.job_id, 'follow_up', p_holder, p_job.unique_key, p_job.run_at, m.queue, m.priority, m.job_type, m.flags, m.expires_at
    from moved m;
    if not found then
        -- A hook holds it back: so it does when the holder has finished.
        update pgqueue.blocked b set reason = 'follow_up', waits_for = p_holder, unique_key = p_job.unique_key where b.job_id = v_id;
    end if;
    if not found then
        with moved as (
            delete from pgqueue.scheduled s where s.job_id = v_id
            returning s.job_id, s.queue, s.priority, s.job_type, s.flags, s.expires_at
        )
        insert into pgqueue.blocked (job_id, reason, waits_for, unique_key, run_at, queue, priority, job_type, flags, expires_at)
        select m.job_id, 'follow_up', p_holder, p_job.unique_key, p_job.run_at, m.queue, m.priority, m.job_type, m.flags, m.expires_at
        from moved m;
    end if;
    return v_id;
end
$$;
revoke all on function pgqueue.insert_follow_up(pgqueue.jobs, uuid) from public;

-- Two payloads in one: arrays under the same key are appended, everything else is taken from the newer.
create or replace function pgqueue.merge_payloads(p_old jsonb, p_new jsonb)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select p_old || coalesce(jsonb_object_agg(k.key,
        case when jsonb_typeof(p_old -> k.key) = 'array' and jsonb_typeof(k.value) = 'array'
            then (p_old -> k.key) || k.value else k.value end), '{}')
    from jsonb_each(p_new) as k (key, value);
$$;
revoke all on function pgqueue.merge_payloads(jsonb, jsonb) from public;
