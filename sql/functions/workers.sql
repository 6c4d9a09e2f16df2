-- Workers: registration, and one heartbeat for everything that a worker runs. Model: tests/model/lease.py.

-- Register a worker and get its id, which claim() and heartbeat() take. p_job_types NULL = claims any type.
-- Repeating it with the same p_instance returns the same id (a lost reply is no second worker).
create or replace function pgqueue.register_worker(
    p_name text,
    p_queues text[] default '{default}',
    p_job_types text[] default null,
    p_lease interval default '20 seconds',
    p_instance uuid default gen_random_uuid(),
    p_meta jsonb default '{}'
)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
begin
    insert into pgqueue.workers (instance, name, queues, job_types, lease, meta)
    values (p_instance, p_name, p_queues, p_job_types, p_lease, coalesce(p_meta, '{}'))
    on conflict (instance) do update set heartbeat_at = clock_timestamp()
        where pgqueue.workers.dead_at is null and pgqueue.workers.stopped_at is null
    returning id into v_id;
    if v_id is null then
        raise exception using errcode = 'PQ004', message = format('worker instance %s was declared dead or stopped', p_instance),
            hint = 'Register with a new instance uuid.';
    end if;
    return v_id;
end
$$;
revoke all on function pgqueue.register_worker(text, text[], text[], interval, uuid, jsonb) from public;

-- Declare what a worker application handles: a JSON array of objects with job_type and, where declared, queue,
-- max_attempts, timeout_seconds, backoff_base_seconds, backoff_factor, backoff_cap_seconds, retention_seconds,
-- description. Rows that an operator manages (set_job_type) keep their settings.
create or replace function pgqueue.register_job_types(p_job_types jsonb)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into pgqueue.job_types as t (job_type, queue, max_attempts, timeout, backoff_base, backoff_factor,
        backoff_cap, retention, description)
    select d.job_type, d.queue, d.max_attempts, make_interval(secs => d.timeout_seconds),
        make_interval(secs => d.backoff_base_seconds), d.backoff_factor, make_interval(secs => d.backoff_cap_seconds),
        make_interval(secs => d.retention_seconds), d.description
    from jsonb_to_recordset(p_job_types) as d (job_type text, queue text, max_attempts integer,
        timeout_seconds double precision, backoff_base_seconds double precision, backoff_factor double precision,
        backoff_cap_seconds double precision, retention_seconds double precision, description text)
    order by d.job_type
    on conflict (job_type) do update set
        queue = excluded.queue,
        max_attempts = excluded.max_attempts,
        timeout = excluded.timeout,
        backoff_base = excluded.backoff_base,
        backoff_factor = excluded.backoff_factor,
        backoff_cap = excluded.backoff_cap,
        retention = excluded.retention,
        description = coalesce(excluded.description, t.description),
        registered_at = clock_timestamp()
    where not t.operator_managed
        and (t.queue, t.max_attempts, t.timeout, t.backoff_base, t.backoff_factor, t.backoff_cap, t.retention, t.description)
            is distinct from (excluded.queue, excluded.max_attempts, excluded.timeout, excluded.backoff_base,
                excluded.backoff_factor, excluded.backoff_cap, excluded.retention, coalesce(excluded.description, t.description));
end
$$;
revoke all on function pgqueue.register_job_types(jsonb) from public;

-- Renew the lease of everything that this worker runs, and hear what is wanted of it: draining = finish and stop;
-- the jobs whose cancellation was requested, with their tokens. Raises PQ004 when the worker was given up.
create or replace function pgqueue.heartbeat(p_worker bigint)
returns table (lease_until timestamptz, draining boolean, cancel_job_ids uuid[], cancel_tokens bigint[])
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_worker pgqueue.workers;
begin
    update pgqueue.workers w set heartbeat_at = clock_timestamp()
    where w.id = p_worker and w.dead_at is null and w.stopped_at is null
    returning * into v_worker;
    if not found then
        raise exception using errcode = 'PQ004', message = format('worker %s is unknown, stopped or declared dead', p_worker),
            hint = 'Stop its handlers (their results will be refused) and register again.';
    end if;
    return query
        select v_worker.heartbeat_at + v_worker.lease, v_worker.draining_at is not null,
            coalesce(array_agg(r.job_id), '{}'), coalesce(array_agg(r.token), '{}')
        from pgqueue.running r
        where r.worker_id = p_worker and r.cancel_requested_at is not null;
end
$$;
revoke all on function pgqueue.heartbeat(bigint) from public;

-- Ask a worker to finish what it runs and stop. It hears it at its next heartbeat.
create or replace function pgqueue.drain_worker(p_worker bigint)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update pgqueue.workers w set draining_at = coalesce(w.draining_at, clock_timestamp())
    where w.id = p_worker and w.dead_at is null and w.stopped_at is null;
    if not found then
        raise exception using errcode = 'PQ004', message = format('worker %s is not alive', p_worker);
    end if;
end
$$;
revoke all on function pgqueue.drain_worker(bigint) from public;

-- A worker says goodbye: what it still runs goes back without using up an attempt. Harmless to repeat.
-- Waits for the worker's claims in flight (class 7067003), so that none commits behind it.
create or replace function pgqueue.stop_worker(p_worker bigint)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
    v_owned pgqueue.running[];
    v_released bigint := 0;
begin
    perform pg_advisory_xact_lock(7067003, (p_worker % 2147483647)::integer);
    v_owned := array(select r from pgqueue.running r where r.worker_id = p_worker order by r.job_id for update);
    perform pgqueue.lock_keyed_jobs(array(select u.job_id from unnest(v_owned) u where u.flags <> 0));
    foreach v_running in array v_owned loop
        if pgqueue.try_release(v_running.job_id, v_running.token) then
            v_released := v_released + 1;
        end if;
    end loop;
    update pgqueue.workers w set stopped_at = clock_timestamp() where w.id = p_worker and w.stopped_at is null and w.dead_at is null;
    return v_released;
end
$$;
revoke all on function pgqueue.stop_worker(bigint) from public;

-- After a claim whose reply was lost: give back what this worker owns but does not know of, without using up an
-- attempt. p_known: the tokens of everything that it runs or has yet to report. Returns how many. Waits for the claim
-- if it is still in flight (class 7067003), as stop_worker does. Proved by tests/integration/test_worker_outage.py.
create or replace function pgqueue.release_strays(p_worker bigint, p_known bigint[])
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
    v_strays pgqueue.running[];
    v_released bigint := 0;
begin
    perform pg_advisory_xact_lock(7067003, (p_worker % 2147483647)::integer);
    v_strays := array(
        select r from pgqueue.running r
        where r.worker_id = p_worker and r.token <> all (coalesce(p_known, '{}'))
        order by r.job_id
        for update);
    perform pgqueue.lock_keyed_jobs(array(select u.job_id from unnest(v_strays) u where u.flags <> 0));
    foreach v_running in array v_strays loop
        if pgqueue.try_release(v_running.job_id, v_running.token) then
            v_released := v_released + 1;
        end if;
    end loop;
    return v_released;
end
$$;
revoke all on function pgqueue.release_strays(bigint, bigint[]) from public;

-- How many workers are alive: they share the maintenance. alike: whatever p_worker could claim, each of them that serves one of
-- its queues could claim too, so that it may leave the looking to whoever has the door.
create or replace function pgqueue.live_workers(p_worker bigint)
returns table (workers bigint, alike boolean)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select count(*),
        coalesce(bool_and(w.job_types is null or coalesce(w.job_types @> me.job_types, false)) filter (where w.queues && me.queues), false)
    from pgqueue.workers w
    left join pgqueue.workers me on me.id = p_worker
    where w.dead_at is null and w.stopped_at is null and w.heartbeat_at + w.lease > clock_timestamp();
end;
revoke all on function pgqueue.live_workers(bigint) from public;
