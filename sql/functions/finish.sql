-- What happens when jobs finish, whoever finishes them.

-- For jobs that carry flags: give back their unique keys, let their follow-ups and their dependents (dependencies.sql) go, and
-- tell who asked to be told (tell.sql), count them in their batches (settle_batches.sql; p_count false = the caller does, when it has
-- added to them).
-- Call it after the rows have been moved to finished. Locks jobs rows in the order of their keys, as enqueue_many() does. An enqueue that is adding
-- a follow-up holds the holder's jobs row, so either its follow-up is seen here or it sees the key given back.
-- Proved by tests/races/test_unique_key.py.
create or replace function pgqueue.after_finish(p_job_ids uuid[], p_count boolean default true)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job record;
    v_follow_up pgqueue.blocked;
    v_told uuid[];
    v_parents boolean := exists (select from pgqueue.dependencies d where d.parent_id = any (p_job_ids));
begin
    if v_parents then
        perform pgqueue.lock_keyed_jobs(p_job_ids);
    end if;
    for v_job in
        select j.id, j.unique_key from pgqueue.jobs j where j.id = any (p_job_ids) and j.unique_key is not null
        order by j.tenant_id nulls first, j.unique_key for update
    loop
        update pgqueue.finished f set unique_key = v_job.unique_key where f.job_id = v_job.id;
        update pgqueue.jobs j set unique_key = null where j.id = v_job.id;
        -- Its jobs row first, then its blocked row: the order in which an UPDATE of the follow-up takes them.
        perform from pgqueue.jobs j
        where j.id = (select b.job_id from pgqueue.blocked b where b.waits_for = v_job.id and b.reason = 'follow_up')
        for update;
        delete from pgqueue.blocked b where b.waits_for = v_job.id and b.reason = 'follow_up' returning * into v_follow_up;
        if found then
            perform pgqueue.place(v_follow_up.job_id, coalesce(v_follow_up.run_at, '-infinity'), 'run_at', v_follow_up.queue,
                v_follow_up.priority, v_follow_up.job_type, v_follow_up.attempts, v_follow_up.flags | 1);
            update pgqueue.jobs j set unique_key = v_follow_up.unique_key where j.id = v_follow_up.job_id;
        end if;
    end loop;
    if v_parents then
        perform pgqueue.release_dependents(p_job_ids);
    end if;
    if (select s.limited from pgqueue.settings s) or exists (select from pgqueue.ordered_jobs o where o.job_id = any (p_job_ids)) then
        perform pgqueue.leave_gates(p_job_ids);
        perform pgqueue.leave_order(p_job_ids);
        perform pgqueue.ring(array(select distinct f.queue from pgqueue.finished f where f.job_id = any (p_job_ids)));
    end if;
    v_told := array(
        select j.id from pgqueue.jobs j
        where j.id = any (p_job_ids) and (j.notify or j.feed is not null or j.callback_url is not null));
    if v_told <> '{}' then
        perform pgqueue.tell(v_told);
    end if;
    if p_count then
        perform pgqueue.count_in_batches(p_job_ids);
    end if;
end
$$;
revoke all on function pgqueue.after_finish(uuid[], boolean) from public;

-- For callers that end several jobs one after another: take the jobs rows of the keyed ones now, in the order of their
-- keys, so that two such callers, or one and an enqueue_many(), never wait for each other in a circle. Running rows come
-- first: call it when those are locked. The dependents that these jobs let go or fail come with them: the keyed among them in
-- the order of their keys, then all by id. Proved by tests/races/test_load.py and tests/races/test_dependencies.py.
create or replace function pgqueue.lock_keyed_jobs(p_job_ids uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_dependents uuid[] := array(select d.job_id from pgqueue.dependencies d where d.parent_id = any (p_job_ids));
begin
    perform from pgqueue.jobs j where j.id = any (p_job_ids || v_dependents) and j.unique_key is not null
    order by j.tenant_id nulls first, j.unique_key for update;
    if v_dependents <> '{}' then
        perform from pgqueue.jobs j where j.id = any (v_dependents) order by j.id for update;
    end if;
end
$$;
revoke all on function pgqueue.lock_keyed_jobs(uuid[]) from public;

-- Move one running job, whose row the caller has just deleted, to finished.
create or replace function pgqueue.finish_running(
    p_running pgqueue.running,
    p_status text,
    p_reason text,
    p_errors jsonb,
    p_metrics jsonb
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    insert into pgqueue.finished (job_id, status, job_type, queue, token, attempt, worker_id, ready_at, started_at,
        finished_at, errors, metrics, progress, progress_message, reason)
    values (p_running.job_id, p_status, p_running.job_type, p_running.queue, p_running.token, p_running.attempt,
        p_running.worker_id, p_running.ready_at, p_running.started_at, v_now, p_errors, p_metrics, p_running.progress,
        p_running.progress_message, p_reason);
    if p_running.flags <> 0 then
        perform pgqueue.after_finish(array[p_running.job_id]);
    end if;
    if p_running.flags & 128 <> 0 then
        perform pgqueue.tell_hooks(array[p_running.job_id]);
    end if;
    perform pgqueue.count_outcome(p_running.job_type, p_running.queue, p_running.worker_id, p_status,
        p_running.ready_at, p_running.started_at, v_now);
end
$$;
revoke all on function pgqueue.finish_running(pgqueue.running, text, text, jsonb, jsonb) from public;

-- Finish a job that never ran or waits again: it is cancelled, or failed with its parents. The caller holds its jobs row where it has a unique key,
-- and has deleted its waiting row. p_attempts = the attempts used so far.
create or replace function pgqueue.finish_waiting(
    p_job_id uuid,
    p_job_type text,
    p_queue text,
    p_attempts integer,
    p_flags integer,
    p_reason text,
    p_code text,
    p_status text default 'cancelled'
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    insert into pgqueue.finished (job_id, status, job_type, queue, attempt, finished_at, reason, errors)
    values (p_job_id, p_status, p_job_type, p_queue, p_attempts, v_now, p_reason,
        case when p_code is not null then jsonb_build_array(jsonb_build_object('code', p_code, 'message', p_reason)) end);
    if p_flags <> 0 then
        perform pgqueue.after_finish(array[p_job_id]);
    end if;
    if p_flags & 128 <> 0 then
        perform pgqueue.tell_hooks(array[p_job_id]);
    end if;
    perform pgqueue.count_outcome(p_job_type, p_queue, null, p_status, null, null, v_now);
end
$$;
revoke all on function pgqueue.finish_waiting(uuid, text, text, integer, integer, text, text, text) from public;

-- The one place that words PQ001.
create or replace function pgqueue.raise_lease_lost(p_job_id uuid, p_token bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'PQ001', message = format('job %s is not owned by token %s',
            coalesce(p_job_id::text, 'null'), coalesce(p_token::text, 'null')),
        hint = 'Another attempt owns the job, or it has finished: roll back, report nothing, stop.';
end
$$;
revoke all on function pgqueue.raise_lease_lost(uuid, bigint) from public;
