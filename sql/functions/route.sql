-- Routing: an INSERT into pgqueue.jobs puts each job into ready, scheduled or (depends_on) blocked and rings the doorbell, in the
-- producer's transaction. One statement-level trigger, set-based: a 10,000-row INSERT rings once per queue.

-- The limits of a job: the name of the first that is broken, NULL = none. The triggers of pgqueue.jobs look at it; it is inlined there
-- (no SET, nothing volatile), so that a cached plan holds it. Proved by tests/sql/test_constraints.py.
create or replace function pgqueue.job_limit(
    p_job_type text,
    p_queue text,
    p_priority smallint,
    p_payload jsonb,
    p_run_at timestamptz,
    p_expires_at timestamptz,
    p_max_attempts integer,
    p_timeout interval,
    p_idempotency_key text,
    p_unique_key text,
    p_tenant_id text,
    p_headers jsonb,
    p_feed text,
    p_callback_url text,
    p_callback_of uuid,
    p_depends_on uuid[],
    p_on_parent_failure text,
    p_concurrency_key text,
    p_ordering_key text,
    p_ordering_on_failure text,
    p_deadline_at timestamptz
)
returns text
language sql
stable
parallel safe
begin atomic
    select case
        when length(p_job_type) not between 1 and 100 then 'jobs_job_type_check'
        -- What pgqueue itself enqueues, it signs: nobody else may enqueue such a job.
        when starts_with(p_job_type, 'pgqueue.') and p_callback_of is null then 'jobs_job_type_reserved_check'
        when length(p_queue) not between 1 and 63 then 'jobs_queue_check'
        when p_priority not between 0 and 3 then 'jobs_priority_check'
        when not isfinite(p_run_at) then 'jobs_run_at_check'
        when not isfinite(p_expires_at) then 'jobs_expires_at_check'
        when not isfinite(p_deadline_at) then 'jobs_deadline_at_check'
        when p_max_attempts not between 1 and 10000 then 'jobs_max_attempts_check'
        when p_timeout not between interval '1 millisecond' and interval '30 days' then 'jobs_timeout_check'
        when length(p_idempotency_key) not between 1 and 255 then 'jobs_idempotency_key_check'
        when length(p_unique_key) not between 1 and 255 then 'jobs_unique_key_check'
        when length(p_tenant_id) not between 1 and 100 then 'jobs_tenant_id_check'
        when p_headers is not null and (jsonb_typeof(p_headers) <> 'object' or pg_column_size(p_headers || '{}') > 65536
            or octet_length(p_headers::text) > 262144) then 'jobs_headers_check'
        when length(p_feed) not between 1 and 100 then 'jobs_feed_check'
        -- Printable ASCII and nothing before the host: no line breaks for a header, no user:password@. 0-: is digits and colon.
        when length(p_callback_url) > 2000 or p_callback_url !~ '^https?://[-.0-:A-Z\[\]_a-z]+([/?][!-~]*)?$' then 'jobs_callback_url_check'
        when p_depends_on is not null and (coalesce(array_ndims(p_depends_on), 0) <> 1 or cardinality(p_depends_on) > 10000
            or array_position(p_depends_on, null) is not null) then 'jobs_depends_on_check'
        when p_on_parent_failure not in ('fail', 'run') then 'jobs_on_parent_failure_check'
        when length(p_concurrency_key) not between 1 and 255 then 'jobs_concurrency_key_check'
        when length(p_ordering_key) not between 1 and 255 then 'jobs_ordering_key_check'
        when p_ordering_on_failure not in ('skip', 'block') then 'jobs_ordering_on_failure_check'
        when jsonb_typeof(p_payload) <> 'object' then 'jobs_payload_check'
        -- 12 bytes of jsonb (1e131071) print as 131,072: a payload of 110 kB that prints as more than 1 GB would fail every
        -- claim that comes to it. Below 2 kB none prints as more than 24 MB. || makes a compressed value plain.
        when pg_column_size(p_payload) <= 2048 and pg_column_compression(p_payload) is null then null
        when pg_column_size(p_payload || '{}') > 16777216 then 'jobs_payload_size_check'
        when octet_length(p_payload::text) > 67108864 then 'jobs_payload_text_check'
    end;
end;
revoke all on function pgqueue.job_limit(text, text, smallint, jsonb, timestamptz, timestamptz, integer, interval, text, text, text, jsonb, text, text, uuid, uuid[], text, text, text, text, timestamptz) from public;

-- Raises that refusal as a CHECK would. Returns what its caller's expression needs.
create or replace function pgqueue.refuse_limit(p_name text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = '23514', constraint = p_name, schema = 'pgqueue', table = 'jobs',
        message = format('new row for relation "jobs" violates check constraint "%s"', p_name),
        hint = 'The limits of a job are in pgqueue.job_limit() and in the README.';
end
$$;
revoke all on function pgqueue.refuse_limit(text) from public;

-- Raises the refusal of a job type as if a constraint had been violated, so that callers can branch on its name.
create or replace function pgqueue.refuse_job_type(p_job_type text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pgqueue.job_types t where t.job_type = p_job_type) then
        raise exception using errcode = '23514', constraint = 'jobs_job_type_enabled',
            schema = 'pgqueue', table = 'jobs', column = 'job_type',
            message = format('job type %L is disabled', p_job_type),
            hint = 'An operator can enable it: select pgqueue.set_job_type(job_type, p_enabled => true).';
    end if;
    raise exception using errcode = '23514', constraint = 'jobs_job_type_known',
        schema = 'pgqueue', table = 'jobs', column = 'job_type',
        message = format('job type %L is not registered, and strict_job_types is on', p_job_type),
        hint = 'A worker registers the types that it handles when it starts; select * from pgqueue.job_types lists them.';
end
$$;
revoke all on function pgqueue.refuse_job_type(text) from public;

-- The flags (0001_core.sql) of a job that has just been inserted. Inlined, as job_limit() is.
create or replace function pgqueue.first_flags(
    p_unique_key text,
    p_notify boolean,
    p_feed text,
    p_callback_url text,
    p_ordering_key text,
    p_batch_id uuid,
    p_detour integer
)
returns integer
language sql
immutable
parallel safe
begin atomic
    select (p_unique_key is not null)::integer + pgqueue.notice_flags(p_notify, p_feed, p_callback_url)
        + (p_ordering_key is not null)::integer * 32 + (p_batch_id is not null)::integer * 64 + coalesce(p_detour & 128, 0);
end;
revoke all on function pgqueue.first_flags(text, boolean, text, text, text, uuid, integer) from public;

-- The queue of a job that has just been inserted; raises what speaks against the job. p_enabled NULL = its type is not registered.
-- Inlined too: strict_job_types is an argument because a function with a subquery is not.
create or replace function pgqueue.first_queue(
    p_broken text,
    p_enabled boolean,
    p_strict boolean,
    p_queue text,
    p_type_queue text,
    p_job_type text
)
returns text
language sql
stable
begin atomic
    select case
        when p_broken is not null then pgqueue.refuse_limit(p_broken)
        when coalesce(p_enabled, not p_strict) then coalesce(p_queue, p_type_queue, 'default')
        else pgqueue.refuse_job_type(p_job_type)
    end;
end;
revoke all on function pgqueue.first_queue(text, boolean, boolean, text, text, text) from public;

-- AFTER INSERT, per statement. Security definer: producers may insert into jobs and into nothing else.
--
-- The short way: a statement of one plain row, of a type that a worker or an operator has registered. Plain = every column
-- that is rarely used is NULL, and what is given is so small that no limit can be broken (in bytes, tighter than job_limit(),
-- which the long way asks): keys and queue of at most 63 bytes, a payload of at most 2 kB. What a feature wants of it:
--   a column of jobs that makes a job odd     joins the list of num_nonnulls()
--   a job type that needs more than a place   gets a bit in job_types.detour: all its jobs take the long way
-- Nothing else belongs there: each function or operator in a statement costs 2,400 instructions to set up, each further table 15,000,
-- each further index of jobs or ready 5,600 to 6,700, also a partial one that the row does not enter.
-- One INSERT of one row (PostgreSQL 18, callgrind, with its COMMIT): 263,000 instructions with the short way, 589,000 with headers,
-- which the short way refuses, 971,000 with a later run_at. The same row in a plain table 75,000. At 32 producers the rate follows
-- these numbers alone: ready without its indexes, unlogged, or without its sequence takes as many per second.
-- Tried without gain, in instructions: the lock of the doorbell in RETURNING +1,400, "is null and" instead of num_nonnulls() +12,000,
-- pos as an identity +1,200, a trigger for each row (empty 113,000, with a bare INSERT into ready 181,000) instead of this one
-- (112,000, 179,000), ready without its primary key -10,700 (and -72 bytes of WAL, of which jobs.pos would take 8 back).
-- What is looked at costs: keys 11,500, "only one row" 8,000, payload 8,800, priority 2,600, SET search_path 3,500.
--
-- The long way: all else. The lateral lookup with LIMIT keeps arrival order and one plan at every size of job_types. The loop over
-- RETURNING costs a single-row INSERT less than an aggregate over a CTE. Past 16 queues ring() rings them all: no need to collect more.
create or replace function pgqueue.route_inserted()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_first text;
begin
    insert into pgqueue.ready (job_id, queue, priority, job_type, flags)
    select n.id, coalesce(n.queue, t.queue, 'default'), n.priority, n.job_type, case when n.unique_key is null then 0 else 1 end
    from inserted n
    cross join lateral (
        select jt.queue from pgqueue.job_types jt where jt.job_type = n.job_type and jt.plain offset 0
    ) t
    -- In FROM, not in WHERE: with a subquery among its expressions each execution walks the whole statement for what to lock.
    cross join (select (select true from inserted limit 1 offset 1) as more) m
    where num_nonnulls(m.more,
            n.run_at, n.expires_at, n.max_attempts, n.timeout, n.tenant_id, n.headers,
            n.notify, n.feed, n.callback_url, n.callback_of, n.depends_on, n.on_parent_failure,
            n.concurrency_key, n.ordering_key, n.ordering_on_failure, n.batch_id, n.deadline_at) = 0
        -- least() and greatest() pass over NULLs.
        and (least(n.queue, n.idempotency_key, n.unique_key) > '') is not false
        and (greatest(octet_length(n.queue), octet_length(n.idempotency_key), octet_length(n.unique_key)) <= 63) is not false
        and n.priority = any ('{0,1,2,3}')
        -- Of all that jsonb can hold objects sort last.
        and n.payload >= '{}' and pg_column_size(n.payload) <= 2048 and pg_column_compression(n.payload) is null
    returning queue into v_first;

    if v_first is null then
        declare
            v_now timestamptz := clock_timestamp();
            v_queue text;
            v_later boolean;
            v_others text[];
            v_held uuid[];
            v_ask boolean;
            v_hooked boolean := false;
        begin
            for v_queue, v_later, v_ask in
                insert into pgqueue.ready (job_id, queue, priority, job_type, flags, ready_at, expires_at)
                select n.id,
                    pgqueue.first_queue(l.broken, t.enabled, (select s.strict_job_types from pgqueue.settings s), n.queue, t.queue, n.job_type),
                    n.priority, n.job_type,
                    pgqueue.first_flags(n.unique_key, n.notify, n.feed, n.callback_url, n.ordering_key, n.batch_id, t.detour),
                    v_now, least(n.expires_at, n.deadline_at)
                from inserted n
                cross join lateral (
                    select pgqueue.job_limit(n.job_type, n.queue, n.priority, n.payload, n.run_at, n.expires_at, n.max_attempts, n.timeout,
                        n.idempotency_key, n.unique_key, n.tenant_id, n.headers, n.feed, n.callback_url, n.callback_of,
                        n.depends_on, n.on_parent_failure, n.concurrency_key, n.ordering_key, n.ordering_on_failure, n.deadline_at) as broken
                    offset 0
                ) l
                left join lateral (
                    select jt.queue, jt.enabled, jt.detour from pgqueue.job_types jt where jt.job_type = n.job_type limit 1
                ) t on true
                where (n.run_at is null or n.run_at <= v_now) and n.depends_on is null
                -- In passing: a query of its own would take 8 microseconds.
                returning queue,
                    (select true from inserted n where n.run_at > v_now or n.depends_on is not null or n.ordering_key is not null or n.batch_id is not null limit 1),
                    flags & 128 <> 0
            loop
                v_hooked := v_hooked or v_ask;
                if v_first is null then
                    v_first := v_queue;
                elsif v_queue <> v_first and (v_others is null or (cardinality(v_others) <= 16 and v_queue <> all (v_others))) then
                    v_others := v_others || v_queue;
                end if;
            end loop;

            if v_first is null or v_later then
                if exists (select from inserted n where n.ordering_key is not null) then
                    if exists (select from inserted n where n.depends_on is not null) then
                        perform pgqueue.enter_order(pgqueue.parents_first(
                            array(select n.id from inserted n where n.ordering_key is not null or n.depends_on is not null)));
                    else
                        perform pgqueue.enter_order(array(select n.id from inserted n where n.ordering_key is not null));
                    end if;
                end if;
                with odd as materialized (
                    select n.id, n.run_at, n.depends_on, n.priority, n.job_type, least(n.expires_at, n.deadline_at) as expires_at,
                        pgqueue.first_flags(n.unique_key, n.notify, n.feed, n.callback_url, n.ordering_key, n.batch_id, t.detour) as flags,
                        pgqueue.first_queue(l.broken, t.enabled, (select s.strict_job_types from pgqueue.settings s), n.queue, t.queue, n.job_type)
                            as queue
                    from inserted n
                    cross join lateral (
                        select pgqueue.job_limit(n.job_type, n.queue, n.priority, n.payload, n.run_at, n.expires_at, n.max_attempts, n.timeout,
                            n.idempotency_key, n.unique_key, n.tenant_id, n.headers, n.feed, n.callback_url, n.callback_of,
                            n.depends_on, n.on_parent_failure, n.concurrency_key, n.ordering_key, n.ordering_on_failure, n.deadline_at) as broken
                        offset 0
                    ) l
                    left join lateral (
                        select jt.queue, jt.enabled, jt.detour from pgqueue.job_types jt where jt.job_type = n.job_type limit 1
                    ) t on true
                    where n.run_at > v_now or n.depends_on is not null
                ), later as (
                    insert into pgqueue.scheduled (job_id, due_at, reason, queue, priority, job_type, flags, expires_at)
                    select o.id, o.run_at, 'run_at', o.queue, o.priority, o.job_type, o.flags, o.expires_at
                    from odd o where o.depends_on is null
                ), held as (
                    insert into pgqueue.blocked (job_id, reason, run_at, queue, priority, job_type, flags, expires_at)
                    select o.id, 'dependencies', o.run_at, o.queue, o.priority, o.job_type, o.flags, o.expires_at
                    from odd o where o.depends_on is not null
                    returning job_id
                )
                select array_agg(h.job_id), v_hooked or (select bool_or(o.flags & 128 <> 0) from odd o) into v_held, v_hooked from held h;
                if v_held is not null then
                    perform pgqueue.hold_dependents(v_held);
                end if;
                perform pgqueue.join_batch(x.batch_id, x.jobs)
                from (
                    select n.batch_id, count(*) as jobs from inserted n where n.batch_id is not null group by n.batch_id order by n.batch_id
                ) x;
            end if;

            if v_hooked then
                perform pgqueue.ask_hooks('insert', array(select n.id from inserted n));
            end if;
            if v_others is not null then
                perform pgqueue.ring(v_first || v_others);
                return null;
            end if;
        end;
    end if;

    -- ring() written out for the one queue that most statements feed.
    if not pg_try_advisory_xact_lock_shared(7067001, hashtext(v_first)) then
        if pg_notification_queue_usage() < 0.5 then
            perform pg_notify('pgqueue', 'ring ' || hashtext(v_first));
        end if;
    end if;
    return null;
end
$$;
revoke all on function pgqueue.route_inserted() from public;

create or replace trigger jobs_route_inserted
    after insert on pgqueue.jobs
    referencing new table as inserted
    for each statement execute function pgqueue.route_inserted();

-- Put one job that waits for nothing but its time where it belongs, and ring if it may run now.
create or replace function pgqueue.place(
    p_job_id uuid,
    p_due_at timestamptz,
    p_reason text,
    p_queue text,
    p_priority smallint,
    p_job_type text,
    p_attempts integer,
    p_flags integer
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_expires_at timestamptz := (select least(j.expires_at, j.deadline_at) from pgqueue.jobs j where j.id = p_job_id);
begin
    if p_flags & 1024 <> 0 then
        -- A hook holds it back.
        insert into pgqueue.blocked (job_id, reason, run_at, queue, priority, job_type, attempts, flags, expires_at)
        values (p_job_id, 'hook', nullif(p_due_at, '-infinity'), p_queue, p_priority, p_job_type, p_attempts, p_flags, v_expires_at);
    elsif p_due_at > clock_timestamp() then
        insert into pgqueue.scheduled (job_id, due_at, reason, queue, priority, job_type, attempts, flags, expires_at)
        values (p_job_id, p_due_at, p_reason, p_queue, p_priority, p_job_type, p_attempts, p_flags, v_expires_at);
    else
        insert into pgqueue.ready (job_id, queue, priority, job_type, attempts, flags, expires_at)
        values (p_job_id, p_queue, p_priority, p_job_type, p_attempts, p_flags, v_expires_at);
        perform pgqueue.ring(array[p_queue]);
    end if;
end
$$;
revoke all on function pgqueue.place(uuid, timestamptz, text, text, smallint, text, integer, integer) from public;
