-- Cancelling, by anybody who may.

-- Cancel a job. A waiting one is cancelled at once (returns 'cancelled'); a running one is asked to stop (returns
-- 'running'): its worker is notified, and hears it at its next heartbeat at the latest. If its handler finishes first, the
-- job has succeeded. Repeating it is harmless. Raises PQ002 for a job that finished otherwise, PQ003 for none.
-- Locks: running alone; or jobs, then the waiting row. Never running after jobs: when a claim came in between, the
-- jobs row is let go by rolling back the block and it starts over. Proved by tests/races/test_finish.py.
create or replace function pgqueue.cancel(p_job_id uuid, p_reason text default null)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_status text;
begin
    perform pgqueue.check_job(p_job_id);
    for i in 1..100 loop
        if pgqueue.request_cancel(p_job_id, p_reason) then
            return 'running';
        end if;
        begin
            if pgqueue.cancel_waiting(p_job_id, p_reason, null) then
                return 'cancelled';
            end if;
            select f.status into v_status from pgqueue.finished f where f.job_id = p_job_id;
            if found then
                exit;
            end if;
            raise exception using errcode = 'PQ000', message = 'it moved: look again';
        exception when sqlstate 'PQ000' then
            null;
        end;
    end loop;
    if v_status is distinct from 'cancelled' then
        raise exception using errcode = 'PQ002', message = format('job %s cannot be cancelled: it is %s', p_job_id,
                coalesce(v_status, 'moving between statuses')),
            hint = 'Only a job that waits or runs can be cancelled.';
    end if;
    return v_status;
end
$$;
revoke all on function pgqueue.cancel(uuid, text) from public;

-- Mark a running job and tell its worker. False = it does not run.
create or replace function pgqueue.request_cancel(p_job_id uuid, p_reason text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_worker bigint;
begin
    update pgqueue.running r
    set cancel_requested_at = coalesce(r.cancel_requested_at, clock_timestamp()), cancel_reason = coalesce(p_reason, r.cancel_reason)
    where r.job_id = p_job_id
    returning r.worker_id into v_worker;
    if found and pg_notification_queue_usage() < 0.5 then
        perform pg_notify('pgqueue', 'cancel ' || v_worker);
    end if;
    return v_worker is not null;
end
$$;
revoke all on function pgqueue.request_cancel(uuid, text) from public;

-- Cancel a job that waits, or end it as p_status. Locks jobs, then the waiting row. False = it does not wait.
create or replace function pgqueue.cancel_waiting(p_job_id uuid, p_reason text, p_code text, p_status text default 'cancelled')
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job record;
    v_key text;
begin
    perform from pgqueue.jobs j where j.id = p_job_id for update;
    -- A follow-up has not got its key yet: finished remembers it all the same, for retry().
    select b.unique_key into v_key from pgqueue.blocked b where b.job_id = p_job_id and b.reason = 'follow_up';
    with b as (delete from pgqueue.blocked x where x.job_id = p_job_id returning *)
    select b.job_type, b.queue, b.attempts, b.flags into v_job from b;
    if v_job is not null then
        delete from pgqueue.dependencies d where d.job_id = p_job_id;
    else
        with s as (delete from pgqueue.scheduled x where x.job_id = p_job_id returning *)
        select s.job_type, s.queue, s.attempts, s.flags into v_job from s;
    end if;
    if v_job is null then
        with r as (delete from pgqueue.ready x where x.job_id = p_job_id returning *)
        select r.job_type, r.queue, r.attempts, r.flags, r.pos into v_job from r;
        if v_job.pos < 0 then
            perform pgqueue.reopen_gates(p_job_id, v_job.queue);
            perform pgqueue.ring(array[v_job.queue]);
        end if;
    end if;
    if v_job is null then
        return false;
    end if;
    perform pgqueue.finish_waiting(p_job_id, v_job.job_type, v_job.queue, v_job.attempts, v_job.flags, p_reason, p_code, p_status);
    if v_key is not null then
        update pgqueue.finished f set unique_key = v_key where f.job_id = p_job_id;
    end if;
    return true;
end
$$;
revoke all on function pgqueue.cancel_waiting(uuid, text, text, text) from public;

-- Cancel up to p_limit waiting jobs of a queue; returns how many. Call it again until it returns 0. Running jobs
-- go on. The records of the cancelled stay until retention removes them. Jobs that somebody is changing at this moment are
-- left: waiting for one while holding others would deadlock with enqueue_many().
create or replace function pgqueue.purge_queue(p_queue text, p_limit integer default 10000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
    v_cancelled bigint := 0;
begin
    perform pgqueue.check_given('queue', p_queue, 'For example: select pgqueue.purge_queue(''mail'').');
    for v_id in
        select x.job_id
        from (
            (select r.job_id from pgqueue.ready r where r.queue = p_queue limit p_limit)
            union all
            (select s.job_id from pgqueue.scheduled s where s.queue = p_queue limit p_limit)
            union all
            (select b.job_id from pgqueue.blocked b where b.queue = p_queue limit p_limit)
        ) x
        order by x.job_id
        limit p_limit
    loop
        perform from pgqueue.jobs j where j.id = v_id for update skip locked;
        if found then
            v_cancelled := v_cancelled + pgqueue.cancel_waiting(v_id, 'purged', null)::integer;
        end if;
    end loop;
    return v_cancelled;
end
$$;
revoke all on function pgqueue.purge_queue(text, integer) from public;
