-- Hooks: an application's own functions, called in the queue's transactions. Charging (workers/metering) is built on them.
--
--     create function shop.on_jobs(p_event text, p_job_ids uuid[]) returns uuid[] ...
--     select pgqueue.set_hook('send_invoice', 'shop.on_jobs');
--
--   insert    in the inserter's transaction, once per statement with all its jobs of the hook's types; they are routed already.
--             Returns those to hold back (NULL = none): they are blocked until unhold(). An error refuses the INSERT.
--   finish    in the transaction that finishes the jobs, however they end; pgqueue.finished tells how. The answer is ignored.
--   retry     as insert, for a finished job that runs again: retry() calls it once, redrive() once for all. After an error redrive()
--             tries its jobs one by one, leaves those that are refused, and calls it once for the others.
--   maintain  about once a second, with no jobs, by one caller at a time: for what a hook wants to do later.
--
-- A job's flags bit 7 (128), from job_types.detour, says that its type had a hook when it was inserted or retried: jobs without pay nothing. A hook
-- may therefore hear of the end of a job whose beginning it did not hear of (its type got the hook meanwhile,
-- and a retry set the bit), and must pass over what it does not know.
--
-- When finish raises an error:
--   complete(), in a handler's transaction: the error goes to the handler, and everything is rolled back.
--   report(): that job alone does not finish; its attempt failed with code hook_failed, and is retried while attempts are left.
--     Its batch-mates have finished: the hook is called for all at once in a savepoint, and one by one only after an error.
--   A job that fails or is cancelled does so all the same, or nothing could ever end it. The call is kept in
--     pgqueue.hook_calls and repeated, after 5 s doubling up to an hour, until it succeeds; retry() repeats it at once.
--
-- Lock order: running, jobs, the waiting tables, finished, then what hooks lock. insert and retry may lock rows, sorted. finish
-- must not wait for a lock: reports, purges and rescues end many jobs in one transaction, and call it several times, so that
-- no order could be kept. Let it append rows, and settle them in maintain.
--
-- Rights: a hook runs as the schema's owner, so whoever can write it has the owner's rights. Therefore only the schema's
-- owner sets hooks, and the function must belong to him, too, with its search_path pinned. Both are looked at again at each call:
-- ALTER FUNCTION ... OWNER hands it to somebody who could replace it. A function of another owner is refused even as SECURITY
-- DEFINER: he could make it SECURITY INVOKER between our look and our call.
-- The parts: set_hook.sql sets and drops them, here they are called.
-- Proved by tests/sql/test_hooks.py, tests/races/test_hooks.py and tests/security/test_hooks.py.

-- Call one hook. Never from a client: our SECURITY DEFINER functions call it, as the owner. The planner's switches are set back
-- to what they are for everybody: complete_owned() and claim() turn some off, which would give a hook's joins plans that read whole tables.
create or replace function pgqueue.call_hook(p_schema name, p_name name, p_event text, p_job_ids uuid[])
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = on
set enable_bitmapscan = on
set enable_nestloop = on
set enable_mergejoin = on
set enable_sort = on
set plan_cache_mode = auto
as $$
declare
    v_held uuid[];
begin
    perform pgqueue.check_hook(p_schema, p_name);
    execute format('select %I.%I($1, $2)', p_schema, p_name) into v_held using p_event, p_job_ids;
    return v_held;
end
$$;
revoke all on function pgqueue.call_hook(name, name, text, uuid[]) from public;

-- The hooks that are to hear this event of these jobs, each with its jobs in the order of their ids.
create or replace function pgqueue.hooks_of(p_event text, p_job_ids uuid[])
returns table (function_schema name, function_name name, job_ids uuid[])
language sql
stable
set search_path = pg_catalog, pg_temp
set enable_nestloop = on
as $$
    select h.function_schema, h.function_name, array_agg(u.id order by u.id)
    from unnest(p_job_ids) as u (id)
    cross join lateral (select w.job_type from pgqueue.jobs w where w.id = u.id limit 1) j
    join pgqueue.hooks h on h.job_type = j.job_type and p_event = any (h.events)
    group by h.function_schema, h.function_name
    order by h.function_schema, h.function_name;
$$;
revoke all on function pgqueue.hooks_of(text, uuid[]) from public;

-- After jobs with hooks have been placed by an INSERT or a retry: ask, and hold back what is to be held back. Not for jobs that
-- have failed by then, because a parent had: their end has been told.
create or replace function pgqueue.ask_hooks(p_event text, p_job_ids uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_hook record;
    v_held uuid[] := array[]::uuid[];
begin
    p_job_ids := array(
        select u.id from unnest(p_job_ids) as u (id) where not exists (select from pgqueue.finished f where f.job_id = u.id));
    for v_hook in select * from pgqueue.hooks_of(p_event, p_job_ids) loop
        v_held := v_held || pgqueue.call_hook(v_hook.function_schema, v_hook.function_name, p_event, v_hook.job_ids);
    end loop;
    if v_held <> '{}' then
        perform pgqueue.hold_back(v_held, p_job_ids);
    end if;
end
$$;
revoke all on function pgqueue.ask_hooks(text, uuid[]) from public;

-- Block these jobs until unhold(); only those among p_own, whose rows this transaction has just written. flags bit 10 (1024)
-- says so, also of a job that waits for parents or behind a holder of its key as well: place() looks at it when that wait ends.
create or replace function pgqueue.hold_back(p_job_ids uuid[], p_own uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update pgqueue.blocked b set flags = b.flags | 1024
    where b.job_id = any (p_job_ids) and b.job_id = any (p_own);
    with gone as (
        delete from pgqueue.ready r where r.job_id = any (p_job_ids) and r.job_id = any (p_own) returning r.*
    )
    insert into pgqueue.blocked (job_id, reason, queue, priority, job_type, attempts, flags, expires_at)
    select g.job_id, 'hook', g.queue, g.priority, g.job_type, g.attempts, g.flags | 1024, g.expires_at from gone g;
    with gone as (
        delete from pgqueue.scheduled s where s.job_id = any (p_job_ids) and s.job_id = any (p_own) returning s.*
    )
    insert into pgqueue.blocked (job_id, reason, run_at, queue, priority, job_type, attempts, flags, expires_at)
    select g.job_id, 'hook', g.due_at, g.queue, g.priority, g.job_type, g.attempts, g.flags | 1024, g.expires_at from gone g;
end
$$;
revoke all on function pgqueue.hold_back(uuid[], uuid[]) from public;

-- Let go jobs that a hook held back; for hooks, as the schema's owner. Returns those let go, in the given order: jobs that
-- are not held, or that somebody is changing at this moment, are left; it never waits.
create or replace function pgqueue.unhold(p_job_ids uuid[])
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_locked uuid[];
    v_blocked pgqueue.blocked;
    v_let_go uuid[] := array[]::uuid[];
begin
    v_locked := array(select j.id from pgqueue.jobs j where j.id = any (p_job_ids) order by j.id for update skip locked);
    -- Not jobs alone: the INSERT of a child marks its parent's row of blocked without that, and may want what the hook holds.
    v_locked := array(select b.job_id from pgqueue.blocked b where b.job_id = any (v_locked) order by b.job_id for update skip locked);
    for v_blocked in
        select b.* from unnest(p_job_ids) with ordinality as u (id, n)
        join pgqueue.blocked b on b.job_id = u.id
        where b.job_id = any (v_locked) and b.flags & 1024 <> 0
        order by u.n
    loop
        if v_blocked.reason = 'hook' then
            delete from pgqueue.blocked b where b.job_id = v_blocked.job_id;
            perform pgqueue.place(v_blocked.job_id, coalesce(v_blocked.run_at, '-infinity'), 'run_at', v_blocked.queue,
                v_blocked.priority, v_blocked.job_type, v_blocked.attempts, v_blocked.flags & ~1024);
        else
            update pgqueue.blocked b set flags = b.flags & ~1024 where b.job_id = v_blocked.job_id;
        end if;
        v_let_go := v_let_go || v_blocked.job_id;
    end loop;
    return v_let_go;
end
$$;
revoke all on function pgqueue.unhold(uuid[]) from public;

-- These jobs have failed or were cancelled: tell their hooks. An error does not undo that; it is written down.
create or replace function pgqueue.tell_hooks(p_job_ids uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_hook record;
begin
    for v_hook in select * from pgqueue.hooks_of('finish', p_job_ids) loop
        begin
            perform pgqueue.call_hook(v_hook.function_schema, v_hook.function_name, 'finish', v_hook.job_ids);
        exception when others then
            raise warning 'pgqueue: hook %.% failed for job %: %', v_hook.function_schema, v_hook.function_name, v_hook.job_ids[1], sqlerrm;
            insert into pgqueue.hook_calls as c (job_id, function_schema, function_name, next_try_at, error)
            select u.id, v_hook.function_schema, v_hook.function_name, clock_timestamp() + interval '5 seconds', sqlerrm
            from unnest(v_hook.job_ids) as u (id)
            on conflict (job_id, function_schema, function_name) do update set error = excluded.error;
        end;
    end loop;
end
$$;
revoke all on function pgqueue.tell_hooks(uuid[]) from public;

-- Repeat now what is kept of this job, unless its type has that hook no more; the error is the caller's.
create or replace function pgqueue.settle_hooks(p_job_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_call pgqueue.hook_calls;
begin
    for v_call in
        select * from pgqueue.hook_calls c where c.job_id = p_job_id order by c.function_schema, c.function_name for update
    loop
        perform pgqueue.call_hook(h.function_schema, h.function_name, 'finish', h.job_ids) from pgqueue.hooks_of('finish', array[p_job_id]) h
        where h.function_schema = v_call.function_schema and h.function_name = v_call.function_name;
        delete from pgqueue.hook_calls c
        where c.job_id = p_job_id and c.function_schema = v_call.function_schema and c.function_name = v_call.function_name;
    end loop;
end
$$;
revoke all on function pgqueue.settle_hooks(uuid) from public;

-- The second half of complete_owned() for jobs with hooks, whose rows it has just moved to finished: call the hooks, then do
-- what happens when jobs finish. p_strict: an error is the caller's. Else it ends that job's attempt alone: its running row, as it
-- was, comes back for fail(), and the count of its success is taken back. Returns those; the caller counts the others in their batches.
create or replace function pgqueue.finish_hooked(p_running pgqueue.running[], p_strict boolean)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array(select r.job_id from unnest(p_running) r);
    v_running pgqueue.running;
    v_bad uuid[] := array[]::uuid[];
    v_errors text[] := array[]::text[];
    v_good uuid[];
begin
    perform pgqueue.lock_keyed_jobs(v_ids);
    begin
        perform pgqueue.call_hook(h.function_schema, h.function_name, 'finish', h.job_ids) from pgqueue.hooks_of('finish', v_ids) h;
    exception when others then
        if p_strict then
            raise;
        end if;
        for i in 1..cardinality(v_ids) loop
            begin
                perform pgqueue.call_hook(h.function_schema, h.function_name, 'finish', h.job_ids)
                from pgqueue.hooks_of('finish', v_ids[i:i]) h;
            exception when others then
                v_bad := v_bad || v_ids[i];
                v_errors := v_errors || sqlerrm;
            end;
        end loop;
    end;
    v_good := array(select u.id from unnest(v_ids) as u (id) where u.id <> all (v_bad));
    if v_good <> '{}' then
        perform pgqueue.after_finish(v_good, false);
    end if;
    for v_running in select r.* from unnest(p_running) r where r.job_id = any (v_bad) loop
        perform pgqueue.uncount_success(v_running.job_id);
        delete from pgqueue.finished f where f.job_id = v_running.job_id;
        insert into pgqueue.running select v_running.*;
        perform pgqueue.fail(v_running.job_id, v_running.token, jsonb_build_object('code', 'hook_failed',
            'message', 'a hook of its job type refused its completion: ' || v_errors[array_position(v_bad, v_running.job_id)]));
    end loop;
    return v_bad;
end
$$;
revoke all on function pgqueue.finish_hooked(pgqueue.running[], boolean) from public;

-- Take back what complete_owned() counted for this job, in the same bucket.
create or replace function pgqueue.uncount_success(p_job_id uuid)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    insert into pgqueue.stats_log
        (minute, job_type, queue, worker_id, outcome, wait_bucket, run_bucket, jobs, wait_seconds, run_seconds)
    select date_trunc('minute', f.finished_at), f.job_type, f.queue, f.worker_id, f.status,
        width_bucket(w.wait, pgqueue.stats_bounds()), width_bucket(w.run, pgqueue.stats_bounds()), -1, -w.wait, -w.run
    from pgqueue.finished f
    cross join lateral (
        select greatest(date_part('epoch', f.started_at - f.ready_at), 0) as wait,
            greatest(date_part('epoch', f.finished_at - f.started_at), 0) as run
    ) w
    where f.job_id = p_job_id;
$$;
revoke all on function pgqueue.uncount_success(uuid) from public;

-- How finish_hooked() ended this attempt instead of completing it; NULL = it did not.
create or replace function pgqueue.refused_status(p_job_id uuid, p_token bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select a.outcome from pgqueue.attempts a
    where a.job_id = p_job_id and a.token = p_token and a.error ->> 'code' = 'hook_failed'
    union all
    select f.status from pgqueue.finished f
    where f.job_id = p_job_id and f.token = p_token and f.errors -> -1 ->> 'code' = 'hook_failed'
    limit 1;
$$;
revoke all on function pgqueue.refused_status(uuid, bigint) from public;

-- Repeat calls that failed, and let hooks do what they left for later; part of maintain(). Returns how many calls succeeded.
create or replace function pgqueue.run_hooks(p_limit integer default 1000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
    v_hook record;
    v_settled bigint := 0;
begin
    if not exists (select from pgqueue.hooks union all select from pgqueue.hook_calls) or not pg_try_advisory_xact_lock(7067004, 8) then
        return 0;
    end if;
    for v_id in
        select c.job_id from pgqueue.hook_calls c where c.next_try_at <= clock_timestamp() order by c.next_try_at limit p_limit
    loop
        -- As retry() does: the job first.
        perform from pgqueue.jobs j where j.id = v_id for update skip locked;
        continue when not found;
        begin
            perform pgqueue.settle_hooks(v_id);
            v_settled := v_settled + 1;
        exception when others then
            update pgqueue.hook_calls c set tries = c.tries + 1, error = sqlerrm,
                next_try_at = clock_timestamp() + least(interval '5 seconds' * 2 ^ least(c.tries, 20), interval '1 hour')
            where c.job_id = v_id;
        end;
    end loop;
    for v_hook in
        select distinct h.function_schema, h.function_name from pgqueue.hooks h where 'maintain' = any (h.events) order by 1, 2
    loop
        begin
            perform pgqueue.call_hook(v_hook.function_schema, v_hook.function_name, 'maintain', '{}');
        exception when others then
            raise warning 'pgqueue: hook %.% failed in maintain: %', v_hook.function_schema, v_hook.function_name, sqlerrm;
        end;
    end loop;
    return v_settled;
end
$$;
revoke all on function pgqueue.run_hooks(integer) from public;
