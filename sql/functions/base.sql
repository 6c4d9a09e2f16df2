-- Small helpers that the other files rest on, and the registers of numbers that must not collide.
--
-- Advisory lock classes (first key of the two-key form), all of this database:
--   7067001 the door of a queue            second key hashtext(queue)             doorbell.sql
--   7067002 a seat on a queue's bench      second key hashtext(queue || '#' || n) doorbell.sql
--   7067003 a worker's claims against its rescue   second key the worker id       claim.sql, report.sql, workers.sql, rescue.sql
--   7067004 one maintainer at a time       1 promote, 2 rescue, 3 retain, 4 merge_stats, 5 expire, 6 merge_batches, 7 look_at_signals, 8 run_hooks, 9 age_waiting
--   7067005 one installer at a time        second key 1                           install.sql, applications.sql
--   7067006 a gate of a limit              second key hashtext(gate)              limits.sql, openings.sql, claim_limited.sql
--   7067007 one at a time over tenants     1 mark_lanes, 2 count_tenants, 3 set_tenant_quota   fairness.sql, quotas.sql
--   7067008 a batch's numbers              second key hashtext(batch id)          batches.sql, settle_batches.sql
--   7067009 one leap of token_seq at a time   second key 1                        tokens.sql
--
-- SQLSTATEs of pgqueue (never 55000 or 55P03, which Npgsql retries as transient):
--   PQ001 lease_lost         another attempt owns the job, or it finished: roll back and stop
--   PQ002 illegal_status     the job's status does not allow this
--   PQ003 job_not_found      no such job (or another tenant's)
--   PQ004 worker_gone        this worker is unknown, stopped or declared dead: register again
--   PQ005 unique_key_taken   another unfinished job holds the key
--   PQ006 invalid_argument   an argument makes no sense
--   PQ007 use_function       this table is moved by functions only; the hint names the right one
--   PQ008 quota_exceeded     the tenant has as many jobs waiting, or as much payload, as it may
--   PQ009 insufficient_funds the customer cannot pay for this job (workers/metering)
--   PQ010 batch_not_found    no such batch (or another tenant's)
--   PQ011 bad_signal_token   not a token of signal_token(), or another job's
-- PQ000 is raised and caught within one function (it moved: look again) and reaches no caller.
-- Refusals at insert look like constraints (23514): jobs_job_type_known, jobs_job_type_enabled.

-- Upper bounds in seconds of the buckets that stats counts waits and runs in (1-2-5 steps, 1 ms to 28 h).
create or replace function pgqueue.stats_bounds()
returns double precision[]
language sql
immutable
parallel safe
begin atomic
    select '{0.001,0.002,0.005,0.01,0.02,0.05,0.1,0.2,0.5,1,2,5,10,20,50,100,200,500,
            1000,2000,5000,10000,20000,50000,100000}'::double precision[];
end;
revoke all on function pgqueue.stats_bounds() from public;

-- The tenant that the session is confined to; NULL = not confined. A login that is mapped stays confined whatever
-- SET ROLE says; an unmapped login that SETs a mapped role is confined while it holds that role. Both are roles,
-- never a setting that anyone can set. Security definer, so that nobody needs to read pgqueue.tenants.
-- Proved by tests/security/test_tenants.py.
create or replace function pgqueue.current_tenant()
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(
        (select t.tenant_id from pgqueue.tenants t where t.role_name = session_user),
        (select t.tenant_id from pgqueue.tenants t
         where t.role_name = nullif(current_setting('role', true), 'none')));
end
$$;
revoke all on function pgqueue.current_tenant() from public;

-- The bits of flags that say what is to be told when the job finishes. Inlined: a job that asks for nothing pays for
-- three comparisons.
create or replace function pgqueue.notice_flags(p_notify boolean, p_feed text, p_callback_url text)
returns integer
language sql
immutable
parallel safe
begin atomic
    select case when p_notify then 2 else 0 end
        + case when p_feed is not null then 4 else 0 end
        + case when p_callback_url is not null then 8 else 0 end;
end;
revoke all on function pgqueue.notice_flags(boolean, text, text) from public;

-- Raises PQ003 when the job does not exist or belongs to another tenant than the session's.
create or replace function pgqueue.check_job(p_job_id uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
begin
    if not exists (
        select from pgqueue.jobs j
        where j.id = p_job_id and (v_tenant is null or j.tenant_id = v_tenant)
    ) then
        raise exception using errcode = 'PQ003', message = format('job %s does not exist', coalesce(p_job_id::text, 'null')),
            hint = 'It may have been removed by retention; pgqueue.job_status shows what is there.';
    end if;
end
$$;
revoke all on function pgqueue.check_job(uuid) from public;

-- Raises PQ006 unless each statement sees what others committed before it. Claim and rescue look again after they have
-- waited for each other: with a snapshot from before the wait, a claim could commit behind the rescue of its worker.
-- Proved by tests/races/test_attack_isolation.py.
create or replace function pgqueue.check_isolation()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        raise exception using errcode = 'PQ006',
            message = format('claims and maintenance do not run at %s', upper(current_setting('transaction_isolation'))),
            hint = 'begin isolation level read committed, or set default_transaction_isolation. Inserts and completions run at any level.';
    end if;
end
$$;
revoke all on function pgqueue.check_isolation() from public;

-- Raises PQ006 when an argument that a function cannot do without is NULL: PostgreSQL would name a column of a table that the caller never
-- heard of, or nothing at all. Proved by tests/sql/test_refusals.py.
create or replace function pgqueue.check_given(p_argument text, p_value text, p_hint text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_value is null then
        raise exception using errcode = 'PQ006', message = format('%s must be given, not null', p_argument), hint = p_hint;
    end if;
end
$$;
revoke all on function pgqueue.check_given(text, text, text) from public;

-- Seconds as an interval. Raises PQ006 for NaN and for more than 10 years: make_interval() of PostgreSQL 15 and 16 wraps
-- 1e20 seconds around to a negative interval, which would mean at once.
create or replace function pgqueue.seconds(p_seconds double precision)
returns interval
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not p_seconds between -315360000 and 315360000 then
        raise exception using errcode = 'PQ006', message = format('%s seconds are not within 10 years', p_seconds);
    end if;
    return make_interval(secs => p_seconds);
end
$$;
revoke all on function pgqueue.seconds(double precision) from public;

-- Says by a NOTICE that nothing has named this queue or job type yet. No error: it comes with its first job, and may be paused or limited
-- before that; but it may be misspelt. For operators' functions: of a name that nobody knows it reads
-- ready, scheduled and blocked whole (0.1 s with 1,000,000 jobs). Proved by tests/sql/test_operate.py.
create or replace function pgqueue.note_unknown(p_kind text, p_name text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if (case p_kind
        when 'queue' then p_name = 'default'
            or exists (select from pgqueue.queues q where q.queue = p_name)
            or exists (select from pgqueue.job_types t where t.queue = p_name)
            or exists (select from pgqueue.workers w where p_name = any (w.queues))
            or exists (select from pgqueue.ready r where r.queue = p_name)
            or exists (select from pgqueue.scheduled s where s.queue = p_name)
            or exists (select from pgqueue.blocked b where b.queue = p_name)
            or exists (select from pgqueue.stats s where s.queue = p_name)
            or exists (select from pgqueue.stats_log l where l.queue = p_name)
        when 'job_type' then exists (select from pgqueue.job_types t where t.job_type = p_name)
            or exists (select from pgqueue.ready r where r.job_type = p_name)
            or exists (select from pgqueue.scheduled s where s.job_type = p_name)
            or exists (select from pgqueue.blocked b where b.job_type = p_name)
            or exists (select from pgqueue.stats s where s.job_type = p_name)
            or exists (select from pgqueue.stats_log l where l.job_type = p_name)
        end)
    then
        return;
    end if;
    raise notice '% % is not known yet: no job, job type or worker has named it', replace(p_kind, '_', ' '), p_name
        using hint = 'It holds from its first job on. If it should have jobs already, look at the spelling.';
end
$$;
revoke all on function pgqueue.note_unknown(text, text) from public;

-- Says in words what a CHECK refuses: the comment on the constraint tells what may be, p_given (by column) what was given (100 characters
-- of it), the hint what to do. Raises 23514 with the constraint's name, as PostgreSQL does without words. Proved by tests/sql/test_refusals.py.
create or replace function pgqueue.refuse_check(p_schema text, p_table text, p_constraint text, p_given jsonb, p_hint text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_words text;
begin
    select obj_description(c.oid, 'pg_constraint') || coalesce(', not ' || string_agg(
        case when cardinality(c.conkey) > 1 then a.attname || ' ' else '' end || case
            when g.value is null then 'null'
            when g.value = '' then 'an empty one'
            when length(g.value) > 100 then format('%s... (%s characters)', left(g.value, 100), length(g.value))
            else g.value end,
        ', ' order by a.attnum), '')
    into v_words
    from pg_constraint c
    left join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any (c.conkey) and p_given ? a.attname
    left join lateral (select p_given ->> a.attname as value) g on true
    where c.conname = p_constraint and c.conrelid = to_regclass(format('%I.%I', p_schema, p_table))
    group by c.oid, c.conkey;
    raise exception using errcode = '23514', constraint = p_constraint, schema = p_schema, table = p_table,
        message = coalesce(v_words, format('new row for relation "%s" violates check constraint "%s"', p_table, p_constraint)),
        hint = p_hint;
end
$$;
revoke all on function pgqueue.refuse_check(text, text, text, jsonb, text) from public;

-- The queue that a job of this type goes to when its row names p_queue.
create or replace function pgqueue.effective_queue(p_queue text, p_job_type text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(p_queue, (select t.queue from pgqueue.job_types t where t.job_type = p_job_type), 'default');
$$;
revoke all on function pgqueue.effective_queue(text, text) from public;

-- Appends one outcome to the statistics. p_started_at NULL = the job never ran.
create or replace function pgqueue.count_outcome(
    p_job_type text,
    p_queue text,
    p_worker_id bigint,
    p_outcome text,
    p_ready_at timestamptz,
    p_started_at timestamptz,
    p_ended_at timestamptz
)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    insert into pgqueue.stats_log
        (minute, job_type, queue, worker_id, outcome, wait_bucket, run_bucket, jobs, wait_seconds, run_seconds)
    select date_trunc('minute', p_ended_at), p_job_type, p_queue, p_worker_id, p_outcome,
        width_bucket(w.wait, pgqueue.stats_bounds()), width_bucket(w.run, pgqueue.stats_bounds()),
        1, coalesce(w.wait, 0), coalesce(w.run, 0)
    from (select greatest(date_part('epoch', p_started_at - p_ready_at), 0) as wait,
                 greatest(date_part('epoch', p_ended_at - p_started_at), 0) as run) w;
$$;
revoke all on function pgqueue.count_outcome(text, text, bigint, text, timestamptz, timestamptz, timestamptz) from public;
