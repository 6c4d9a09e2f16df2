-- Maintenance: schedules, promotion of due jobs, rescue, expiry, retention, statistics. No leader: every worker calls
-- maintain() now and then, psql or a cron may; each part lets one caller in at a time and moves a bounded number of rows.

-- Move jobs whose time has come from scheduled to ready and ring; then look at the gates. p_floor, next_floor: see promote_due().
create or replace function pgqueue.promote(p_limit integer default 1000, p_floor timestamptz default null)
returns table (moved bigint, next_floor timestamptz, next_due_at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    select p.moved, p.next_floor, p.next_due_at into moved, next_floor, next_due_at from pgqueue.promote_due(p_limit, p_floor) p;
    perform pgqueue.open_gates(p_limit) from pgqueue.settings s where s.limited;
    next_due_at := least(next_due_at, pgqueue.next_opening());
    return next;
end
$$;
revoke all on function pgqueue.promote(integer, timestamptz) from public;

-- The part of promote() that takes no gate's lock. Earliest first. p_floor: as with claims, the time
-- below which the caller has seen nothing left; it spares the scan over dead index entries. Returns how many moved, the next floor
-- (NULL = start over without one: the sweep that finds what was committed late below it) and when the next job is due.
create or replace function pgqueue.promote_due(p_limit integer, p_floor timestamptz)
returns table (moved bigint, next_floor timestamptz, next_due_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
    v_queues text[];
begin
    -- A floor in the future: the clock has been set back, and what is due now lies below it.
    p_floor := case when p_floor <= v_now then p_floor end;
    moved := 0;
    next_floor := p_floor;
    if not pg_try_advisory_xact_lock(7067004, 1) then
        return next;
        return;
    end if;
    with due as materialized (
        select s.ctid as tid, s.*
        from pgqueue.scheduled s
        where s.due_at <= v_now and s.due_at >= coalesce(p_floor, '-infinity')
        order by s.due_at
        limit p_limit
        for update skip locked
    ), gone as (
        delete from pgqueue.scheduled s where s.ctid = any (array(select d.tid from due d))
    ), placed as (
        insert into pgqueue.ready (job_id, queue, priority, job_type, attempts, flags, ready_at, expires_at)
        select d.job_id, d.queue, d.priority, d.job_type, d.attempts, d.flags, d.due_at, d.expires_at
        from due d
    )
    select count(*), max(d.due_at), array_agg(distinct d.queue)
    into moved, next_floor, v_queues
    from due d;
    if moved > 0 then
        perform pgqueue.ring(v_queues);
    end if;
    next_floor := greatest(next_floor, p_floor);
    -- Capped at what clients can load: PostgreSQL's time goes on to the year 294276.
    select least(s.due_at, timestamptz '9999-12-30 00:00:00+00') into next_due_at
    from pgqueue.scheduled s
    where s.due_at >= coalesce(next_floor, '-infinity')
    order by s.due_at
    limit 1;
    return next;
end
$$;
revoke all on function pgqueue.promote_due(integer, timestamptz) from public;

-- Take back the jobs of dead workers, and jobs past their deadline. The lost attempt counts: a job that keeps killing its
-- worker ends as failed. A worker is dead when its lease ended; class 7067003 keeps a claim of its own in flight from
-- committing behind that. Locks running rows in job_id order, skipping locked ones (they are being finished), then the
-- jobs rows of those with keys, skipping too: an enqueue() that adds a follow-up in a long transaction must not hold up
-- maintenance, and its job comes with a later call. Proved by tests/races/test_attack_rescue.py,
-- tests/races/test_finish.py and tests/races/test_claim.py.
create or replace function pgqueue.rescue(p_limit integer default 1000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_worker record;
    v_gone bigint[];
    v_lost pgqueue.running[] := array[]::pgqueue.running[];
    v_late pgqueue.running[];
    v_locked uuid[];
    v_rescued bigint;
    -- Capped: an interval meant as "for ever" must not leave the range of timestamps.
    v_grace interval := (select least(s.timeout_grace, interval '1000 years') from pgqueue.settings s);
begin
    perform pgqueue.check_isolation();
    if not pg_try_advisory_xact_lock(7067004, 2) then
        return 0;
    end if;
    -- The clock has been set back: nobody's lease lasts longer than one lease from now.
    update pgqueue.workers w set heartbeat_at = clock_timestamp()
    where w.dead_at is null and w.stopped_at is null and w.heartbeat_at > clock_timestamp() + w.lease;
    for v_worker in
        select w.id from pgqueue.workers w
        where w.dead_at is null and w.stopped_at is null and w.heartbeat_at + w.lease < clock_timestamp()
        order by w.id
    loop
        if pg_try_advisory_xact_lock(7067003, (v_worker.id % 2147483647)::integer) then
            update pgqueue.workers w set dead_at = clock_timestamp()
            where w.id = v_worker.id and w.dead_at is null and w.stopped_at is null
                and w.heartbeat_at + w.lease < clock_timestamp();
        end if;
    end loop;

    v_gone := array(select w.id from pgqueue.workers w where coalesce(w.dead_at, w.stopped_at) is not null and w.rescued_at is null);
    if v_gone <> '{}' then
        v_lost := array(
            select r from pgqueue.running r
            where r.worker_id = any (v_gone)
            order by r.job_id
            limit p_limit
            for update skip locked);
    end if;
    v_late := array(
        select r from pgqueue.running r
        where r.deadline_at < clock_timestamp() - v_grace and r.worker_id <> all (v_gone)
        order by r.job_id
        limit greatest(p_limit - cardinality(v_lost), 0)
        for update skip locked);
    v_locked := array(
        select j.id from pgqueue.jobs j
        where j.id = any (array(select u.job_id from unnest(v_lost || v_late) u where u.flags <> 0))
        for update skip locked);
    v_rescued := pgqueue.sweep('rescue', array(
        select u.job_id from unnest(v_lost || v_late) u where u.flags = 0 or u.job_id = any (v_locked)));
    update pgqueue.workers w set rescued_at = clock_timestamp()
    where w.id = any (v_gone) and not exists (select from pgqueue.running r where r.worker_id = w.id);
    return v_rescued;
end
$$;
revoke all on function pgqueue.rescue(integer) from public;

-- What rescue(), expire() and look_at_signals() do to each of the jobs that they have found, all in one go. After an error that is undone
-- and done one by one: a job that fails (an application's own trigger) warns, and stops nobody else. Only then is there a savepoint for each. A
-- deadlock, a lock that is not to be had or a full disk says nothing about a job: the caller gets it, and comes again. What else is of class
-- 55 does: 55000 is what currval() of an untouched sequence raises. Returns how many were moved. Proved by tests/sql/test_attack_maintain.py.
create or replace function pgqueue.sweep(p_sweep text, p_job_ids uuid[])
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
    v_moved bigint := 0;
begin
    begin
        foreach v_id in array p_job_ids loop
            v_moved := v_moved + pgqueue.sweep_one(p_sweep, v_id)::integer;
        end loop;
        return v_moved;
    exception when others then
        if left(sqlstate, 2) in ('40', '53') or sqlstate = '55P03' then
            raise;
        end if;
    end;
    v_moved := 0;
    foreach v_id in array p_job_ids loop
        begin
            v_moved := v_moved + pgqueue.sweep_one(p_sweep, v_id)::integer;
        exception when others then
            if left(sqlstate, 2) in ('40', '53') or sqlstate = '55P03' then
                raise;
            end if;
            raise warning 'pgqueue.%() leaves job %: % (SQLSTATE %)', p_sweep, v_id, sqlerrm, sqlstate;
        end;
    end loop;
    return v_moved;
end
$$;
revoke all on function pgqueue.sweep(text, uuid[]) from public;

-- One job of a sweep. True = it was moved. Jobs rows are locked skipping: no sweep waits for somebody who holds one.
create or replace function pgqueue.sweep_one(p_sweep text, p_job_id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
    v_now timestamptz := clock_timestamp();
    v_deadline_passed boolean;
begin
    case p_sweep
        when 'rescue' then
            -- The caller has locked it.
            select r.* into v_running from pgqueue.running r where r.job_id = p_job_id;
            perform pgqueue.take_back(v_running, case when exists (
                select from pgqueue.workers w where w.id = v_running.worker_id and coalesce(w.dead_at, w.stopped_at) is not null
            ) then 'lost' else 'timed_out' end);
            return true;
        when 'expire' then
            -- An UPDATE may have given it more time since.
            select coalesce(j.deadline_at <= v_now and j.deadline_at <= coalesce(j.expires_at, 'infinity'), false) into v_deadline_passed
            from pgqueue.jobs j where j.id = p_job_id and least(j.expires_at, j.deadline_at) <= v_now for update skip locked;
            return case
                when v_deadline_passed then pgqueue.cancel_waiting(p_job_id, 'it did not finish before its deadline', 'deadline_passed', 'failed')
                when found then pgqueue.cancel_waiting(p_job_id, 'expired before it could start', 'expired')
                else false end;
        when 'look_at_signals' then
            perform from pgqueue.jobs j where j.id = p_job_id for update skip locked;
            return found and pgqueue.look_at_signal(p_job_id);
        else
            raise exception 'no such sweep: %', p_sweep;
    end case;
end
$$;
revoke all on function pgqueue.sweep_one(text, uuid) from public;

-- One job is taken from its attempt: 'lost' or 'timed_out'. The caller has locked its running row. taken_back tells a
-- late report of that attempt from a repeated one.
create or replace function pgqueue.take_back(p_running pgqueue.running, p_outcome text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_error jsonb := case p_outcome
        when 'lost' then jsonb_build_object('code', 'worker_lost', 'message', format('worker %s died', p_running.worker_id))
        else jsonb_build_object('code', 'deadline_passed', 'message', format('still running %s after its deadline',
            clock_timestamp() - p_running.deadline_at)) end;
begin
    delete from pgqueue.running r where r.job_id = p_running.job_id;
    if p_running.cancel_requested_at is not null then
        perform pgqueue.finish_running(p_running, 'cancelled', p_running.cancel_reason, jsonb_build_array(v_error), null);
    elsif p_running.attempt >= pgqueue.attempts_allowed(p_running.job_id) then
        perform pgqueue.finish_running(p_running, 'failed', null, jsonb_build_array(v_error), null);
    else
        perform pgqueue.end_attempt(p_running, p_outcome, v_error, '-infinity', 'run_at', true);
    end if;
    update pgqueue.finished f set taken_back = true where f.job_id = p_running.job_id;
end
$$;
revoke all on function pgqueue.take_back(pgqueue.running, text) from public;

-- Cancel waiting jobs whose expires_at has passed, and fail those whose deadline_at has: ready, scheduled and blocked have the earlier
-- of the two in expires_at, and claims skip them already.
create or replace function pgqueue.expire(p_limit integer default 1000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    if not pg_try_advisory_xact_lock(7067004, 5) then
        return 0;
    end if;
    return pgqueue.sweep('expire', array(
        select x.job_id
        from (
            (select r.job_id from pgqueue.ready r where r.expires_at <= v_now order by r.expires_at limit p_limit)
            union all
            (select s.job_id from pgqueue.scheduled s where s.expires_at <= v_now order by s.expires_at limit p_limit)
            union all
            (select b.job_id from pgqueue.blocked b where b.expires_at <= v_now order by b.expires_at limit p_limit)
        ) x
        order by x.job_id
        limit p_limit));
end
$$;
revoke all on function pgqueue.expire(integer) from public;

-- Remove finished jobs older than their type's retention, oldest first, with all that is known of them. Type by type along
-- finished_retention_idx, so that the cost follows the rows removed: first an equal share for each, then what is left of the
-- limit for whoever has more. Jobs rows are locked first, skipping locked ones, and
-- looked at again: a retry may have come in between. Proved by tests/sql/test_maintain.py and tests/races/test_finish.py.
create or replace function pgqueue.retain(p_limit integer default 1000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_default interval := (select s.retention from pgqueue.settings s);
    v_types text[];
    v_type text := '';
    v_before timestamptz;
    v_ids uuid[];
    v_batch bigint;
    v_removed bigint := 0;
begin
    if not pg_try_advisory_xact_lock(7067004, 3) then
        return 0;
    end if;
    loop
        select f.job_type into v_type from pgqueue.finished f where f.job_type > v_type order by f.job_type limit 1;
        exit when not found;
        v_types := v_types || v_type;
    end loop;
    for v_turn in 1..2 * coalesce(cardinality(v_types), 0) loop
        exit when v_removed >= p_limit;
        v_type := v_types[(v_turn - 1) % cardinality(v_types) + 1];
        -- Capped: an interval meant as "for ever" must not leave the range of timestamps and stop all maintenance.
        v_before := clock_timestamp() - least(interval '1000 years',
            coalesce((select t.retention from pgqueue.job_types t where t.job_type = v_type), v_default));
        select array_agg(x.id) into v_ids
        from (
            select j.id
            from pgqueue.finished f
            cross join lateral (select w.id from pgqueue.jobs w where w.id = f.job_id limit 1 for update skip locked) j
            where f.job_type = v_type and f.finished_at < v_before
            order by f.finished_at
            limit case when v_turn <= cardinality(v_types) then least(p_limit / cardinality(v_types) + 1, p_limit - v_removed)
                else p_limit - v_removed end
        ) x;
        begin
            delete from pgqueue.jobs j
            where j.id = any (v_ids) and exists (select from pgqueue.finished f where f.job_id = j.id);
            get diagnostics v_batch = row_count;
            v_removed := v_removed + v_batch;
        exception when foreign_key_violation then
            raise warning 'pgqueue: jobs of type % are kept beyond their retention: %', v_type, sqlerrm
                using hint = 'Declare that foreign key ON DELETE CASCADE or SET NULL.';
        end;
    end loop;
    return v_removed;
end
$$;
revoke all on function pgqueue.retain(integer) from public;

-- Forget workers that stopped or died more than a day ago and run nothing.
create or replace function pgqueue.forget_workers()
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_forgotten bigint;
begin
    delete from pgqueue.workers w
    where coalesce(w.dead_at, w.stopped_at) < clock_timestamp() - interval '1 day' and w.rescued_at is not null;
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke all on function pgqueue.forget_workers() from public;

-- All of the above and due schedules, each bounded by p_limit. next_due_at: when to come back for promotion, a tick or a signal's timeout. Workers call it about once a second.
-- A part that fails (an application's own trigger or foreign key, a deadlock) warns and leaves the others to do their work.
-- Proved by tests/sql/test_attack_maintain.py.
create or replace function pgqueue.maintain(p_limit integer default 1000, p_floor timestamptz default null)
returns table (
    promoted bigint,
    next_floor timestamptz,
    next_due_at timestamptz,
    rescued bigint,
    expired bigint,
    removed bigint,
    merged bigint,
    enqueued bigint
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_part text;
    v_next_tick_at timestamptz;
    v_next_look_at timestamptz;
begin
    perform pgqueue.check_isolation();
    promoted := 0; rescued := 0; expired := 0; removed := 0; merged := 0; enqueued := 0;
    foreach v_part in array array['mark_lanes', 'count_tenants', 'run_schedules', 'promote_due', 'age_waiting', 'rescue', 'expire', 'retain', 'merge_stats', 'forget_workers', 'forget_schedule_runs', 'tend_limits',
        'look_at_signals', 'forget_batches', 'merge_batches', 'run_hooks', 'open_gates']
    loop
        begin
            case v_part
                when 'run_schedules' then
                    select r.enqueued, r.next_tick_at into enqueued, v_next_tick_at from pgqueue.run_schedules(p_limit) r;
                when 'promote_due' then
                    select p.moved, p.next_floor, p.next_due_at into promoted, next_floor, next_due_at
                    from pgqueue.promote_due(p_limit, p_floor) p;
                when 'age_waiting' then perform pgqueue.age_waiting(p_limit);
                when 'rescue' then rescued := pgqueue.rescue(p_limit);
                when 'expire' then expired := pgqueue.expire(p_limit);
                when 'retain' then removed := pgqueue.retain(p_limit);
                when 'merge_stats' then merged := pgqueue.merge_stats();
                when 'tend_limits' then perform pgqueue.tend_limits(p_limit);
                when 'forget_workers' then perform pgqueue.forget_workers();
                when 'mark_lanes' then perform pgqueue.mark_lanes();
                when 'count_tenants' then perform pgqueue.count_tenants();
                when 'forget_schedule_runs' then perform pgqueue.forget_schedule_runs(p_limit);
                when 'look_at_signals' then select l.next_look_at into v_next_look_at from pgqueue.look_at_signals(p_limit) l;
                when 'forget_batches' then perform pgqueue.forget_batches(p_limit);
                -- Late: it holds the batches' locks until the commit.
                when 'merge_batches' then perform pgqueue.merge_batches(p_limit);
                -- Last: what hooks lock is held until the end.
                when 'run_hooks' then perform pgqueue.run_hooks(p_limit);
                -- Last of all: claims leave the jobs of gates that are held.
                when 'open_gates' then perform pgqueue.open_gates(p_limit) from pgqueue.settings s where s.limited;
            end case;
        exception when others then
            raise warning 'pgqueue.%() failed: % (SQLSTATE %)', v_part, sqlerrm, sqlstate;
        end;
    end loop;
    next_due_at := least(next_due_at, v_next_tick_at, v_next_look_at, pgqueue.next_opening());
    return next;
end
$$;
revoke all on function pgqueue.maintain(integer, timestamptz) from public;
