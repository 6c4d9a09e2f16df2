-- Bringing jobs back, and moving those that wait.

-- Run a job again: a finished one starts over with a fresh budget of attempts (its record becomes an attempts row), one
-- that waits for its backoff, its time or a signal runs now. Raises PQ002 for a job that is ready, blocked or running, PQ005 when
-- another unfinished job has its unique key by now. A job with parents waits for those that are unfinished again; PQ002
-- while one of them has failed and it does not run anyway. Locks jobs, then finished or scheduled; its hooks come last.
create or replace function pgqueue.retry(p_job_id uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if pgqueue.retry_one(p_job_id) then
        perform pgqueue.ask_hooks('retry', array[p_job_id]);
    end if;
end
$$;
revoke all on function pgqueue.retry(uuid) from public;

-- The same without its hooks: true = the caller must ask them.
create or replace function pgqueue.retry_one(p_job_id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job pgqueue.jobs;
    v_finished pgqueue.finished;
    v_hooked boolean;
    v_flags integer := 0;
begin
    perform pgqueue.check_job(p_job_id);
    select * into v_job from pgqueue.jobs j where j.id = p_job_id for update;
    if exists (select from pgqueue.scheduled s where s.job_id = p_job_id) then
        update pgqueue.jobs j set run_at = clock_timestamp() where j.id = p_job_id;
        return false;
    end if;
    if pgqueue.retry_paused(p_job_id) then
        return false;
    end if;
    -- Before its end is counted back and told: a job that finishes only now has not been looked at by either.
    select * into v_finished from pgqueue.finished f where f.job_id = p_job_id for update;
    if not found then
        raise exception using errcode = 'PQ002', message = format('job %s is neither finished nor waiting for its time: nothing to retry', p_job_id),
            hint = 'select pgqueue.why_waiting(id) says what it waits for.';
    end if;
    if least(v_job.expires_at, v_job.deadline_at) <= clock_timestamp() then
        raise exception using errcode = 'PQ002', message = format('job %s expired at %s: it must not start any more', p_job_id,
            least(v_job.expires_at, v_job.deadline_at)),
            hint = 'Insert a new job.';
    end if;
    if v_job.batch_id is not null then
        perform pgqueue.count_in_batches(array[p_job_id], -1);
    end if;
    -- Its last end first, before it is forgotten.
    perform pgqueue.settle_hooks(p_job_id);
    delete from pgqueue.finished f where f.job_id = p_job_id;
    insert into pgqueue.attempts (job_id, token, attempt, outcome, worker_id, started_at, ended_at, error)
    values (p_job_id, coalesce(v_finished.token, pgqueue.next_token()), v_finished.attempt, 'redriven',
        v_finished.worker_id, v_finished.started_at, v_finished.finished_at, jsonb_build_object('status', v_finished.status)
            || coalesce(v_finished.errors -> -1, '{}'));
    select t.detour & 128 <> 0 into v_hooked from pgqueue.job_types t where t.job_type = v_job.job_type;
    v_flags := (v_finished.unique_key is not null)::integer + case when v_hooked then 128 else 0 end
        + pgqueue.notice_flags(v_job.notify, v_job.feed, v_job.callback_url)
        + case when v_job.batch_id is not null then 64 else 0 end
        + case when exists (select from pgqueue.signals s where s.job_id = p_job_id) then 256 else 0 end;
    if v_job.ordering_key is not null then
        v_flags := v_flags + 32;
        perform pgqueue.enter_order(array[p_job_id]);
    end if;
    if v_job.depends_on is null then
        perform pgqueue.place(p_job_id, '-infinity', 'run_at', v_finished.queue, v_job.priority, v_job.job_type, 0, v_flags);
    else
        perform pgqueue.hold_again(v_job, v_finished.queue, v_flags);
    end if;
    if v_finished.unique_key is not null then
        begin
            update pgqueue.jobs j set unique_key = v_finished.unique_key where j.id = p_job_id;
        exception when unique_violation then
            raise exception using errcode = 'PQ005',
                message = format('job %s cannot be retried: another unfinished job holds its unique key', p_job_id),
                hint = 'Wait for that job, or cancel it.';
        end;
    end if;
    return coalesce(v_hooked, false);
end
$$;
revoke all on function pgqueue.retry_one(uuid) from public;

-- A job that waits for a signal runs without it. False = it does not wait for one.
create or replace function pgqueue.retry_paused(p_job_id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_blocked pgqueue.blocked;
begin
    delete from pgqueue.blocked b where b.job_id = p_job_id and b.reason = 'signal' returning * into v_blocked;
    if not found then
        return false;
    end if;
    perform pgqueue.place(p_job_id, '-infinity', 'run_at', v_blocked.queue, v_blocked.priority, v_blocked.job_type, v_blocked.attempts,
        v_blocked.flags);
    return true;
end
$$;
revoke all on function pgqueue.retry_paused(uuid) from public;

-- Retry the oldest failed jobs, up to p_limit; returns how many. NULL arguments do not restrict, but what `pgqueue run` ran
-- in a queue of its own (run- and 16 digits) takes a p_queue: nobody listens there any more. Jobs whose unique key is
-- taken, which have expired, or which somebody is changing are left; so are, with a warning, those that a hook refuses, which
-- others take the place of. Those with keys come last, in the order of their keys: the order in which enqueue_many() takes them.
create or replace function pgqueue.redrive(
    p_job_type text default null,
    p_queue text default null,
    p_since timestamptz default null,
    p_limit integer default 1000
)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_hooked uuid[];
    v_more uuid[];
    v_refused uuid[] := array[]::uuid[];
    v_redriven bigint;
begin
    -- A round for each p_limit of refused jobs; ten, so that it ends soon when everything is refused.
    for v_round in 1..10 loop
        v_hooked := null;
        begin
            select r.redriven, r.hooked into v_redriven, v_hooked
            from pgqueue.redrive_round(p_job_type, p_queue, p_since, p_limit, v_refused) r;
            if v_hooked <> '{}' then
                perform pgqueue.ask_hooks('retry', v_hooked);
            end if;
            return v_redriven;
        exception when others then
            -- A deadlock or a lock that was not to be had says nothing about the jobs.
            if left(sqlstate, 2) in ('40', '55') or v_hooked is null then
                raise;
            end if;
            v_more := pgqueue.refused_of(v_hooked);
            if v_more = '{}' then
                raise;
            end if;
        end;
        v_refused := v_refused || v_more;
    end loop;
    return 0;
end
$$;
revoke all on function pgqueue.redrive(text, text, timestamptz, integer) from public;

-- Bring back the jobs that redrive() is to bring back, but not these. Returns how many, and those of them whose hooks are to be asked.
create or replace function pgqueue.redrive_round(
    p_job_type text,
    p_queue text,
    p_since timestamptz,
    p_limit integer,
    p_refused uuid[],
    out redriven bigint,
    out hooked uuid[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
    v_id uuid;
    v_tenant text := pgqueue.current_tenant();
begin
    redriven := 0;
    hooked := array[]::uuid[];
    for v_id in
        select d.job_id
        from (
            select f.job_id, f.unique_key, f.finished_at
            from pgqueue.finished f
            cross join lateral (select w.tenant_id, least(w.expires_at, w.deadline_at) as expires_at from pgqueue.jobs w where w.id = f.job_id limit 1) j
            where f.status = 'failed' and f.job_id <> all (p_refused)
                and (p_job_type is null or f.job_type = p_job_type)
                and (f.queue = p_queue or p_queue is null and f.queue !~ '^run-[0-9a-f]{16}$')
                and (p_since is null or f.finished_at >= p_since)
                and (v_tenant is null or j.tenant_id = v_tenant)
                and (j.expires_at is null or j.expires_at > clock_timestamp())
                and (f.unique_key is null or not exists (
                    select from pgqueue.jobs k
                    where k.unique_key = f.unique_key and k.tenant_id is not distinct from j.tenant_id))
            order by f.finished_at
            limit p_limit
        ) d
        cross join lateral (select w.tenant_id from pgqueue.jobs w where w.id = d.job_id limit 1) j
        order by d.unique_key is not null, j.tenant_id nulls first, d.unique_key, d.finished_at
    loop
        begin
            perform from pgqueue.jobs j where j.id = v_id for update skip locked;
            if found then
                if pgqueue.retry_one(v_id) then
                    hooked := hooked || v_id;
                end if;
                redriven := redriven + 1;
            end if;
        exception
            when sqlstate 'PQ002' or sqlstate 'PQ003' or sqlstate 'PQ005' then
                null;
            when others then
                -- A hook that still refuses to hear of its last end.
                if left(sqlstate, 2) in ('40', '55') then
                    raise;
                end if;
                raise warning 'pgqueue: job % is not redriven: % (SQLSTATE %)', v_id, sqlerrm, sqlstate;
        end;
    end loop;
end
$$;
revoke all on function pgqueue.redrive_round(text, text, timestamptz, integer, uuid[]) from public;

-- Those of these failed jobs that a hook refuses to run again. Each is tried alone and rolled back: what is to stay is asked for all at once,
-- so that hooks lock in one order. When none is refused, those that cannot be tried alone: their parents are among the others.
create or replace function pgqueue.refused_of(p_job_ids uuid[])
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
    v_refused uuid[] := array[]::uuid[];
    v_untried uuid[] := array[]::uuid[];
begin
    foreach v_id in array p_job_ids loop
        begin
            perform from pgqueue.jobs j where j.id = v_id for update skip locked;
            if found and pgqueue.retry_one(v_id) then
                perform pgqueue.ask_hooks('retry', array[v_id]);
            end if;
            raise exception using errcode = 'PQ000', message = 'it was a trial';
        exception
            when sqlstate 'PQ000' then
                null;
            when sqlstate 'PQ002' or sqlstate 'PQ003' or sqlstate 'PQ005' then
                v_untried := v_untried || v_id;
            when others then
                if left(sqlstate, 2) in ('40', '55') then
                    raise;
                end if;
                raise warning 'pgqueue: job % is not redriven: % (SQLSTATE %)', v_id, sqlerrm, sqlstate;
                v_refused := v_refused || v_id;
        end;
    end loop;
    return case when v_refused = '{}' then v_untried else v_refused end;
end
$$;
revoke all on function pgqueue.refused_of(uuid[]) from public;

-- Move a waiting job in time (NULL = now). The UPDATE's trigger moves its row; raises PQ002 when it no longer waits.
create or replace function pgqueue.reschedule(p_job_id uuid, p_run_at timestamptz)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_job(p_job_id);
    update pgqueue.jobs j set run_at = coalesce(p_run_at, clock_timestamp()) where j.id = p_job_id;
end
$$;
revoke all on function pgqueue.reschedule(uuid, timestamptz) from public;

-- Change a waiting job's priority (0 high, 1 normal, 2 low, 3 bulk); it goes to the end of that priority.
create or replace function pgqueue.reprioritise(p_job_id uuid, p_priority integer)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_job(p_job_id);
    if p_priority is null or p_priority not between 0 and 3 then
        raise exception using errcode = 'PQ006', message = format('priority is %s, not 0 (high), 1 (normal), 2 (low) or 3 (bulk)', p_priority);
    end if;
    update pgqueue.jobs j set priority = p_priority::smallint where j.id = p_job_id;
end
$$;
revoke all on function pgqueue.reprioritise(uuid, integer) from public;
