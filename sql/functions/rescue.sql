-- Rescue and expiry: jobs of dead workers, past their deadline, or no longer wanted. Parts of maintain(). And move_each(), which both share with
-- signals' timeouts (look_at_signals()): it goes on after a job that cannot be moved.

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
    v_now timestamptz := clock_timestamp();
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
            where r.worker_id = any (v_gone) and pgqueue.may_move('rescue', r.job_id, v_now)
            order by r.job_id
            limit p_limit
            for update skip locked);
    end if;
    v_late := array(
        select r from pgqueue.running r
        where r.deadline_at < clock_timestamp() - v_grace and r.worker_id <> all (v_gone)
            and pgqueue.may_move('rescue', r.job_id, v_now)
        order by r.job_id
        limit greatest(p_limit - cardinality(v_lost), 0)
        for update skip locked);
    v_locked := array(
        select j.id from pgqueue.jobs j
        where j.id = any (array(select u.job_id from unnest(v_lost || v_late) u where u.flags <> 0))
        for update skip locked);
    v_rescued := pgqueue.move_each('rescue', array(
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
-- 55 does: 55000 is what currval() of an untouched sequence raises. Those that failed are stepped over for a minute (may_move()): as many as
-- one call takes would hide the others for ever. Returns how many were moved. Proved by tests/sql/test_attack_maintain.py.
create or replace function pgqueue.move_each(p_part text, p_job_ids uuid[])
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
            v_moved := v_moved + pgqueue.move_one(p_part, v_id)::integer;
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
            v_moved := v_moved + pgqueue.move_one(p_part, v_id)::integer;
        exception when others then
            if left(sqlstate, 2) in ('40', '53') or sqlstate = '55P03' then
                raise;
            end if;
            insert into pgqueue.maintenance_failures (part, job_id, next_try_at, error)
            values (p_part, v_id, clock_timestamp() + interval '1 minute', format('%s (SQLSTATE %s)', sqlerrm, sqlstate))
            on conflict (part, job_id) do update set next_try_at = excluded.next_try_at, error = excluded.error;
            raise warning 'pgqueue.%() leaves job %: % (SQLSTATE %)', p_part, v_id, sqlerrm, sqlstate;
        end;
    end loop;
    return v_moved;
end
$$;
revoke all on function pgqueue.move_each(text, uuid[]) from public;

-- False = this part has failed on this job less than a minute ago; what is further ahead is from before the clock was set back. One look
-- into an index that is nearly always empty; not inlined, for no function with a subquery is. The queries of expire() and
-- look_at_signals() step over 20 times what they take at most: 20,000 such jobs (90 ms a call) hide nobody, and a million cost no
-- more. rescue() looks at all that dead workers ran and all that is late.
create or replace function pgqueue.may_move(p_part text, p_job_id uuid, p_at timestamptz)
returns boolean
language sql
stable
begin atomic
    select (
        select f.next_try_at > p_at and f.next_try_at < p_at + interval '2 minutes'
        from pgqueue.maintenance_failures f where f.part = p_part and f.job_id = p_job_id limit 1
    ) is not true;
end;
revoke all on function pgqueue.may_move(text, uuid, timestamptz) from public;

-- Forget failures that are over: who fails again is written down again. Part of maintain().
create or replace function pgqueue.forget_failures()
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    delete from pgqueue.maintenance_failures f
    where f.ctid = any (array(
        select d.ctid from pgqueue.maintenance_failures d where d.next_try_at < clock_timestamp() - interval '1 minute' for update skip locked));
$$;
revoke all on function pgqueue.forget_failures() from public;

-- One job of those. True = it was moved. Jobs rows are locked skipping: nobody here waits for somebody who holds one.
create or replace function pgqueue.move_one(p_part text, p_job_id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
    v_now timestamptz := clock_timestamp();
    v_deadline_passed boolean;
begin
    case p_part
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
            raise exception 'no such part: %', p_part;
    end case;
end
$$;
revoke all on function pgqueue.move_one(text, uuid) from public;

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
    return pgqueue.move_each('expire', array(
        select x.job_id
        from (
            (select w.job_id
             from (select r.job_id from pgqueue.ready r where r.expires_at <= v_now order by r.expires_at limit 20 * p_limit::bigint) w
             where pgqueue.may_move('expire', w.job_id, v_now) limit p_limit)
            union all
            (select w.job_id
             from (select s.job_id from pgqueue.scheduled s where s.expires_at <= v_now order by s.expires_at limit 20 * p_limit::bigint) w
             where pgqueue.may_move('expire', w.job_id, v_now) limit p_limit)
            union all
            (select w.job_id
             from (select b.job_id from pgqueue.blocked b where b.expires_at <= v_now order by b.expires_at limit 20 * p_limit::bigint) w
             where pgqueue.may_move('expire', w.job_id, v_now) limit p_limit)
        ) x
        order by x.job_id
        limit p_limit));
end
$$;
revoke all on function pgqueue.expire(integer) from public;
