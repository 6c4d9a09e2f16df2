-- What enqueue_many(), follow-ups, batches and schedules insert through: a JSON array of jobs becomes rows of jobs.

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
