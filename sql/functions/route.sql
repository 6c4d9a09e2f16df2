-- Routing: an INSERT into pgqueue.jobs puts each job into ready or scheduled and rings the doorbell, in the
-- producer's transaction. One statement-level trigger, set-based: a 10,000-row INSERT rings once per queue.

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

-- AFTER INSERT, per statement. Security definer: producers may insert into jobs and into nothing else.
-- The lateral lookup with LIMIT keeps arrival order and one plan at every size of job_types. The loop over RETURNING, with
-- ring()'s rule written out for the one queue that most statements feed, costs a single-row INSERT 27 microseconds where an
-- aggregate over a CTE and a call of ring() cost 45. Past 16 queues ring() rings them all: no need to collect more.
create or replace function pgqueue.route_inserted()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_queue text;
    v_first text;
    v_others text[];
begin
    for v_queue in
        insert into pgqueue.ready (job_id, queue, priority, job_type, flags, ready_at, expires_at)
        select n.id,
            case when coalesce(t.enabled, not (select s.strict_job_types from pgqueue.settings s))
                then coalesce(n.queue, t.queue, 'default')
                else pgqueue.refuse_job_type(n.job_type) end,
            n.priority, n.job_type, (n.unique_key is not null)::integer + pgqueue.notice_flags(n.notify, n.feed, n.callback_url), v_now, n.expires_at
        from inserted n
        left join lateral (
            select jt.queue, jt.enabled from pgqueue.job_types jt where jt.job_type = n.job_type limit 1
        ) t on true
        where n.run_at is null or n.run_at <= v_now
        returning queue
    loop
        if v_first is null then
            v_first := v_queue;
        elsif v_queue <> v_first and (v_others is null or (cardinality(v_others) <= 16 and v_queue <> all (v_others))) then
            v_others := v_others || v_queue;
        end if;
    end loop;

    if exists (select from inserted n where n.run_at > v_now) then
        insert into pgqueue.scheduled (job_id, due_at, reason, queue, priority, job_type, flags, expires_at)
        select n.id, n.run_at, 'run_at',
            case when coalesce(t.enabled, not (select s.strict_job_types from pgqueue.settings s))
                then coalesce(n.queue, t.queue, 'default')
                else pgqueue.refuse_job_type(n.job_type) end,
            n.priority, n.job_type, (n.unique_key is not null)::integer + pgqueue.notice_flags(n.notify, n.feed, n.callback_url), n.expires_at
        from inserted n
        left join lateral (
            select jt.queue, jt.enabled from pgqueue.job_types jt where jt.job_type = n.job_type limit 1
        ) t on true
        where n.run_at > v_now;
    end if;

    if v_others is not null then
        perform pgqueue.ring(v_first || v_others);
    elsif v_first is not null
        and not pg_try_advisory_xact_lock_shared(7067001, hashtext(v_first))
        and pg_notification_queue_usage() < 0.5
    then
        perform pg_notify('pgqueue', 'ring ' || hashtext(v_first));
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
    v_expires_at timestamptz := (select j.expires_at from pgqueue.jobs j where j.id = p_job_id);
begin
    if p_due_at > clock_timestamp() then
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
