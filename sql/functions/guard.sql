-- Guards on pgqueue.jobs: an UPDATE of a waiting job moves it accordingly; everything that would make the tables
-- disagree is refused, for the owner too, with a hint that names the function to call.
-- Locks: jobs (by the UPDATE itself), then the waiting row, in the order in which a waiting job moves on.
-- Proved by tests/sql/test_guards.py and tests/races/specs_waiting.py.

create or replace function pgqueue.route_updated()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_blocked pgqueue.blocked;
    v_scheduled pgqueue.scheduled;
    v_ready pgqueue.ready;
    v_queue text;
    v_now timestamptz := clock_timestamp();
    v_moved_in_time boolean := new.run_at is distinct from old.run_at;
    v_broken text;
begin
    if (new.id, new.job_type, new.tenant_id, new.idempotency_key, new.created_at, new.created_by,
            new.notify, new.feed, new.callback_url, new.callback_of, new.depends_on, new.on_parent_failure,
            new.concurrency_key, new.ordering_key, new.ordering_on_failure, new.batch_id)
        is distinct from (old.id, old.job_type, old.tenant_id, old.idempotency_key, old.created_at, old.created_by,
            old.notify, old.feed, old.callback_url, old.callback_of, old.depends_on, old.on_parent_failure,
            old.concurrency_key, old.ordering_key, old.ordering_on_failure, old.batch_id)
    then
        raise exception using errcode = 'PQ007',
            message = format('job %s: id, job_type, tenant_id, idempotency_key, created_at, created_by, notify, feed, callback_url,'
                ' depends_on, on_parent_failure, concurrency_key, ordering_key, ordering_on_failure and batch_id never change', old.id),
            hint = 'Cancel the job with pgqueue.cancel(id) and insert another.';
    end if;
    v_broken := pgqueue.job_limit(new.job_type, new.queue, new.priority, new.payload, new.run_at, new.expires_at, new.max_attempts,
        new.timeout, new.idempotency_key, new.unique_key, new.tenant_id, new.headers, new.feed, new.callback_url, new.callback_of,
        new.depends_on, new.on_parent_failure, new.concurrency_key, new.ordering_key, new.ordering_on_failure, new.deadline_at);
    if v_broken is not null then
        perform pgqueue.refuse_limit(v_broken);
    end if;
    if new.queue is distinct from old.queue then
        v_queue := pgqueue.effective_queue(new.queue, new.job_type);
    end if;

    for v_turn in 1..100 loop
        delete from pgqueue.blocked b where b.job_id = old.id returning * into v_blocked;
        if v_blocked.reason = 'limit' then
            -- As one that is ready; a claim parks it again.
            perform pgqueue.place(old.id, case when v_moved_in_time then coalesce(new.run_at, v_now) else v_now end, 'run_at',
                coalesce(v_queue, v_blocked.queue), new.priority, v_blocked.job_type, v_blocked.attempts, v_blocked.flags);
            return null;
        end if;
        if v_blocked.job_id is not null then
            insert into pgqueue.blocked (job_id, reason, waits_for, unique_key, run_at, queue, priority, job_type,
                attempts, flags, expires_at, blocked_at, signal, look_at, timeout_at, on_timeout)
            values (old.id, v_blocked.reason, v_blocked.waits_for, v_blocked.unique_key, new.run_at,
                coalesce(v_queue, v_blocked.queue), new.priority, v_blocked.job_type, v_blocked.attempts, v_blocked.flags,
                least(new.expires_at, new.deadline_at), v_blocked.blocked_at,
                v_blocked.signal, v_blocked.look_at, v_blocked.timeout_at, v_blocked.on_timeout);
            return null;
        end if;

        delete from pgqueue.scheduled s where s.job_id = old.id returning * into v_scheduled;
        if found then
            perform pgqueue.place(old.id,
                case when v_moved_in_time then coalesce(new.run_at, v_now) else v_scheduled.due_at end,
                case when v_moved_in_time and v_scheduled.reason = 'snooze' then 'run_at' else v_scheduled.reason end,
                coalesce(v_queue, v_scheduled.queue), new.priority, v_scheduled.job_type, v_scheduled.attempts, v_scheduled.flags);
            return null;
        end if;

        -- Delete and insert, never update: a claim that picked the old row from an older snapshot then finds it gone
        -- instead of handing out the old payload. The new row is at the end of its queue.
        delete from pgqueue.ready r where r.job_id = old.id returning * into v_ready;
        if found then
            if v_ready.pos < 0 then
                perform pgqueue.reopen_gates(old.id, v_ready.queue);
            end if;
            perform pgqueue.place(old.id, case when v_moved_in_time then coalesce(new.run_at, v_now) else v_now end, 'run_at',
                coalesce(v_queue, v_ready.queue), new.priority, v_ready.job_type, v_ready.attempts, v_ready.flags);
            return null;
        end if;

        exit when exists (select from pgqueue.running r where r.job_id = old.id)
            or exists (select from pgqueue.finished f where f.job_id = old.id);
        -- It waits, and went back to where we had looked: a claim has parked it, or aging or the INSERT of a dependent stored it anew.
    end loop;

    raise exception using errcode = 'PQ002',
        message = format('job %s no longer waits: it cannot be changed', old.id),
        hint = 'pgqueue.cancel(id) stops a running job, pgqueue.retry(id) runs a finished one again,'
            ' pgqueue.enqueue(..., on_duplicate => ''replace'') makes a follow-up.';
end
$$;
revoke all on function pgqueue.route_updated() from public;

create or replace trigger jobs_route_updated
    after update of id, job_type, queue, priority, payload, run_at, expires_at, max_attempts, timeout,
        idempotency_key, tenant_id, headers, notify, feed, callback_url, callback_of, depends_on, on_parent_failure, concurrency_key, ordering_key,
        ordering_on_failure, batch_id, deadline_at, created_at, created_by
    on pgqueue.jobs
    for each row execute function pgqueue.route_updated();

-- A unique_key is given back when its job has finished and taken again by a job that waits (retry, follow-up).
create or replace function pgqueue.guard_unique_key()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.unique_key is not distinct from old.unique_key
        or (new.unique_key is null and exists (select from pgqueue.finished f where f.job_id = old.id))
        or (old.unique_key is null and exists (
                select from pgqueue.ready r where r.job_id = old.id and r.flags & 1 <> 0
                union all
                select from pgqueue.scheduled s where s.job_id = old.id and s.flags & 1 <> 0
                union all
                select from pgqueue.blocked b where b.job_id = old.id and b.flags & 1 <> 0))
    then
        return new;
    end if;
    raise exception using errcode = 'PQ007',
        message = format('job %s: unique_key changes only when its job finishes or is retried', old.id),
        hint = 'Cancel the job with pgqueue.cancel(id) and insert another.';
end
$$;
revoke all on function pgqueue.guard_unique_key() from public;

create or replace trigger jobs_guard_unique_key
    before update of unique_key on pgqueue.jobs
    for each row execute function pgqueue.guard_unique_key();

-- DELETE takes finished jobs only, and takes all that is known of them along.
create or replace function pgqueue.guard_deleted()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_live uuid;
begin
    select d.id into v_live
    from deleted d
    where exists (select from pgqueue.ready x where x.job_id = d.id)
        or exists (select from pgqueue.scheduled x where x.job_id = d.id)
        or exists (select from pgqueue.blocked x where x.job_id = d.id)
        or exists (select from pgqueue.running x where x.job_id = d.id)
    limit 1;
    if found then
        raise exception using errcode = 'PQ007',
            message = format('job %s is not finished: it cannot be deleted', v_live),
            hint = 'Cancel it with pgqueue.cancel(id), or a whole queue with pgqueue.purge_queue(queue).';
    end if;
    delete from pgqueue.finished f where f.ctid = any (array(
        select x.tid from deleted d
        cross join lateral (select y.ctid as tid from pgqueue.finished y where y.job_id = d.id limit 1) x));
    delete from pgqueue.attempts a where a.ctid = any (array(
        select x.tid from deleted d
        cross join lateral (select y.ctid as tid from pgqueue.attempts y where y.job_id = d.id offset 0) x));
    if exists (select from deleted d where d.ordering_on_failure = 'block') then
        perform pgqueue.leave_order(array(select d.id from deleted d where d.ordering_on_failure = 'block'));
    end if;
    if exists (select from deleted d where d.feed is not null) then
        delete from pgqueue.completions c where c.ctid = any (array(
            select x.tid from deleted d
            cross join lateral (select y.ctid as tid from pgqueue.completions y where y.job_id = d.id offset 0) x
            where d.feed is not null));
    end if;
    -- Most have none: one look instead of one for each.
    if exists (select from pgqueue.signals) then
        delete from pgqueue.signals s where s.ctid = any (array(
            select x.tid from deleted d
            cross join lateral (select y.ctid as tid from pgqueue.signals y where y.job_id = d.id offset 0) x));
    end if;
    if exists (select from pgqueue.hook_calls) then
        delete from pgqueue.hook_calls h where h.job_id in (select d.id from deleted d);
    end if;
    delete from pgqueue.job_results r where r.ctid = any (array(
        select x.tid from deleted d
        cross join lateral (select y.ctid as tid from pgqueue.job_results y where y.job_id = d.id offset 0) x));
    return null;
end
$$;
revoke all on function pgqueue.guard_deleted() from public;

create or replace trigger jobs_guard_deleted
    after delete on pgqueue.jobs
    referencing old table as deleted
    for each statement execute function pgqueue.guard_deleted();

-- TRUNCATE fires no row triggers: it would leave the other tables as they are.
create or replace function pgqueue.guard_truncate()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'PQ007', message = format('pgqueue.%I is never truncated', tg_table_name),
        hint = 'pgqueue.purge_queue(queue) cancels waiting jobs, pgqueue.retain() removes finished ones.';
end
$$;
revoke all on function pgqueue.guard_truncate() from public;

do $$
declare
    v_table text;
begin
    foreach v_table in array array['jobs', 'ready', 'scheduled', 'blocked', 'running', 'finished', 'attempts', 'job_results', 'completions', 'workers',
        'dependencies', 'slots', 'openings', 'gate_buckets', 'ordered_jobs', 'batches', 'batch_log', 'signals']
    loop
        execute format('create or replace trigger %I before truncate on pgqueue.%I
            for each statement execute function pgqueue.guard_truncate()', v_table || '_guard_truncate', v_table);
    end loop;
end
$$;

-- rescue() starts from the workers: without its worker's row a running job would never be taken back.
create or replace function pgqueue.guard_worker_deleted()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pgqueue.running r where r.worker_id = old.id) then
        raise exception using errcode = 'PQ007', message = format('worker %s still owns running jobs: it cannot be deleted', old.id),
            hint = 'select pgqueue.stop_worker(id) gives them back; pgqueue.forget_workers() deletes what is of no more use.';
    end if;
    return null;
end
$$;
revoke all on function pgqueue.guard_worker_deleted() from public;

create or replace trigger workers_guard_deleted
    after delete on pgqueue.workers
    for each row when (old.rescued_at is null) execute function pgqueue.guard_worker_deleted();
