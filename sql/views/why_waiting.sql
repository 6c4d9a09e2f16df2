-- Why a job is not running, in words. For people: the wording may change.

-- The workers that could take a job of this queue and type. NULL = at least one can; else what is wrong, in words.
create or replace function pgqueue.why_nobody(p_queue text, p_job_type text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with alive as (
        select p_queue = any (w.queues) as listens, w.job_types is null or p_job_type = any (w.job_types) as handles,
            w.draining_at is not null as draining
        from pgqueue.workers w
        where w.dead_at is null and w.stopped_at is null and w.heartbeat_at + w.lease > statement_timestamp()
    )
    select case
        when count(*) = 0 then 'no worker is alive'
        when bool_or(a.listens and a.handles and not a.draining) then null
        when bool_or(a.listens and a.handles) then 'every worker that could take it is draining'
        when not bool_or(a.listens) then format('no live worker listens to queue %s', p_queue)
        when not bool_or(a.handles) then format('no live worker handles job type %s', p_job_type)
        else format('no live worker both listens to queue %s and handles job type %s', p_queue, p_job_type)
    end
    from alive a;
$$;
revoke all on function pgqueue.why_nobody(text, text) from public;

-- What holds every job of this queue and type back: pauses and missing workers. NULL = nothing.
create or replace function pgqueue.why_held(p_queue text, p_job_type text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select nullif(concat_ws('; ',
        (select format('queue %s is paused since %s', q.queue, date_trunc('second', q.paused_at)) || coalesce(' (' || q.paused_reason || ')', '')
         from pgqueue.queues q where q.queue = p_queue and q.paused_at is not null),
        (select format('job type %s is disabled', t.job_type)
         from pgqueue.job_types t where t.job_type = p_job_type and not t.enabled),
        (select format('job type %s is paused since %s', t.job_type, date_trunc('second', t.paused_at)) || coalesce(' (' || t.paused_reason || ')', '')
         from pgqueue.job_types t where t.job_type = p_job_type and t.paused_at is not null),
        pgqueue.why_nobody(p_queue, p_job_type)), '');
$$;
revoke all on function pgqueue.why_held(text, text) from public;

-- The same for a job that is ready: its place too. Jobs before it are counted up to 10,000, along the claim index. A confined
-- session hears that there are some, not how many: they may be other tenants'.
create or replace function pgqueue.why_ready(p_ready pgqueue.ready)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_held text := pgqueue.why_held(p_ready.queue, p_ready.job_type);
    v_before bigint;
begin
    if p_ready.expires_at <= clock_timestamp() then
        return format('queued, but it expired at %s: it will not start, and is cancelled soon', date_trunc('second', p_ready.expires_at));
    end if;
    if v_held is not null then
        return format('queued since %s, but %s', date_trunc('second', p_ready.ready_at), v_held);
    end if;
    select count(*) into v_before
    from (
        select from pgqueue.ready r
        where r.queue = p_ready.queue and (r.priority, r.pos) < (p_ready.priority, p_ready.pos)
        order by r.priority, r.pos
        limit 10000
    ) x;
    if v_before > 0 and pgqueue.current_tenant() is not null then
        return 'queued: other jobs of its queue come before it';
    end if;
    return case v_before
        when 0 then 'queued, first in its queue: it should start at once'
        when 10000 then 'queued: 10,000 or more jobs of its queue come before it'
        else format('queued: %s of its queue %s before it', case v_before when 1 then '1 job' else v_before || ' jobs' end,
            case v_before when 1 then 'comes' else 'come' end)
    end;
end
$$;
revoke all on function pgqueue.why_ready(pgqueue.ready) from public;

-- In words, the parents that this job waits for: three of them, with their status. A confined session hears
-- the number of all, and the names of its own tenant's.
create or replace function pgqueue.why_dependent(p_job_id uuid)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select format('blocked: waits for %s%s%s', case w.n when 1 then '1 job' else w.n || ' jobs' end,
        (select string_agg(format(', %s (%s)', s.id, s.status), '' order by s.id)
         from pgqueue.job_status s
         where (pgqueue.current_tenant() is null or s.tenant_id = pgqueue.current_tenant())
            and s.id = any (array(select d.parent_id from pgqueue.dependencies d where d.job_id = p_job_id order by d.parent_id limit 3))),
        case when w.n > 3 then format(' and %s more', w.n - 3) else '' end)
    from (select count(*) as n from pgqueue.dependencies d where d.job_id = p_job_id) w;
$$;
revoke all on function pgqueue.why_dependent(uuid) from public;

-- In words, the limit or the job that a parked job waits for, and what would free it. A confined session hears of its own jobs only, and no numbers
-- of a limit: other tenants' jobs may count in them.
create or replace function pgqueue.why_parked(p_blocked pgqueue.blocked)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit pgqueue.limits;
    v_first uuid;
    v_until timestamptz;
begin
    if starts_with(p_blocked.gate, '0:') then
        select o.job_id into v_first from pgqueue.ordered_jobs o where o.gate = p_blocked.gate order by o.seq limit 1;
        return format('blocked: job %s comes first in its ordering key (%s)%s', v_first,
            (select s.status from pgqueue.job_status s where s.id = v_first),
            case when exists (select from pgqueue.finished f where f.job_id = v_first)
                then '; retry it, or let the others pass: select pgqueue.skip_ordered(id)' else '' end);
    end if;
    select * into v_limit from pgqueue.limits l where l.id = split_part(p_blocked.gate, ':', 1)::bigint;
    if not found then
        return 'blocked: its limit was dropped, and it is let out with the next claim';
    end if;
    if pgqueue.current_tenant() is not null then
        return format('blocked by the limit of %s %s', v_limit.kind, v_limit.name);
    end if;
    select min(o.opens_at) into v_until from pgqueue.openings o where o.gate = p_blocked.gate and o.opens_at > o.made_at;
    return format('blocked by the limit of %s %s: %s', v_limit.kind, v_limit.name, concat_ws(' and ',
        case when v_limit.max_running is not null then format('%s of %s running',
            (select count(*) from pgqueue.slots s join pgqueue.running r on r.job_id = s.job_id and r.token = s.token
             where s.gate = p_blocked.gate), v_limit.max_running) end,
        case when v_limit.rate_jobs is not null then format('%s per %s%s', v_limit.rate_jobs, v_limit.rate_interval,
            ', the next at ' || date_trunc('milliseconds', v_until)) end));
end
$$;
revoke all on function pgqueue.why_parked(pgqueue.blocked) from public;

-- In words, the hook that holds this job back, since when, and who can let it go.
create or replace function pgqueue.why_hooked(p_blocked pgqueue.blocked)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case when h.names is null
            then format('held back by a hook that has been dropped, since %s: nobody lets it go', x.since)
            else format('held back by %s since %s, until that function lets it go', h.names, x.since) end
        || format('; cancel it, or as the owner of the schema: select pgqueue.unhold(array[%L::uuid])', p_blocked.job_id)
    from (select date_trunc('second', p_blocked.blocked_at) as since) x
    cross join (
        select string_agg(format('%I.%I', k.function_schema, k.function_name), ' or ' order by k.function_schema, k.function_name) as names
        from pgqueue.hooks k where k.job_type = p_blocked.job_type and k.events && '{insert,retry}'
    ) h;
$$;
revoke all on function pgqueue.why_hooked(pgqueue.blocked) from public;

-- In words, why this job is not running (or by whom it is, or how it ended). Raises PQ003 for no such job.
-- Proved by tests/sql/test_why_waiting.py.
create or replace function pgqueue.why_waiting(p_job_id uuid)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ready pgqueue.ready;
    v_scheduled pgqueue.scheduled;
    v_words text;
begin
    perform pgqueue.check_job(p_job_id);
    select * into v_ready from pgqueue.ready r where r.job_id = p_job_id;
    if found then
        return pgqueue.why_ready(v_ready);
    end if;
    select * into v_scheduled from pgqueue.scheduled s where s.job_id = p_job_id;
    if found then
        return concat_ws('; ',
            case
                when v_scheduled.expires_at <= clock_timestamp() then
                    format('scheduled, but it expired at %s: it will not start, and is cancelled soon', date_trunc('second', v_scheduled.expires_at))
                when v_scheduled.due_at <= clock_timestamp() then
                    format('due since %s but not promoted yet (each worker promotes about once a second)', date_trunc('second', v_scheduled.due_at))
                when v_scheduled.reason = 'retry' then
                    format('retrying: attempt %s failed, the next one is due at %s', v_scheduled.attempts, date_trunc('second', v_scheduled.due_at))
                when v_scheduled.reason = 'snooze' then format('snoozed by its handler until %s', date_trunc('second', v_scheduled.due_at))
                else format('scheduled: its run_at is %s', date_trunc('second', v_scheduled.due_at))
            end,
            'and then ' || pgqueue.why_held(v_scheduled.queue, v_scheduled.job_type));
    end if;
    select case
            when u.cancel_requested_at is not null then
                format('running, attempt %s, and asked to stop since %s%s', u.attempt, date_trunc('second', u.cancel_requested_at),
                    coalesce(' (' || u.cancel_reason || ')', ''))
            else format('running since %s, attempt %s, by worker %s (%s)', date_trunc('second', u.started_at), u.attempt,
                coalesce(w.name, 'unknown'), u.worker_id)
        end
        || case when w.id is null or w.dead_at is not null or w.stopped_at is not null or w.heartbeat_at + w.lease <= clock_timestamp()
            then '; that worker is gone, and the job is taken back soon' else '' end
    into v_words
    from pgqueue.running u
    left join pgqueue.workers w on w.id = u.worker_id
    where u.job_id = p_job_id;
    if found then
        return v_words;
    end if;
    select case b.reason when 'dependencies' then pgqueue.why_dependent(p_job_id)
        when 'limit' then pgqueue.why_parked(b)
        when 'signal' then format('blocked: waits for signal %s since %s, %s', b.signal, date_trunc('second', b.blocked_at),
            case when b.timeout_at is null then 'for as long as it takes'
                else format('until %s; then it %s', date_trunc('second', b.timeout_at), case b.on_timeout when 'run' then 'runs without it' else 'fails' end) end)
        when 'hook' then 'blocked: ' || pgqueue.why_hooked(b)
        else format('blocked: it follows job %s, which holds its unique key %L', b.waits_for, b.unique_key) end
        || case when b.reason <> 'hook' and b.flags & 1024 <> 0 then '; and ' || pgqueue.why_hooked(b) else '' end
    into v_words from pgqueue.blocked b where b.job_id = p_job_id;
    if found then
        return v_words;
    end if;
    select format('finished: %s at %s', f.status, date_trunc('second', f.finished_at))
        || coalesce(' (' || coalesce(f.reason, f.errors -> -1 ->> 'message') || ')', '')
    into v_words from pgqueue.finished f where f.job_id = p_job_id;
    return coalesce(v_words, 'in no table: select * from pgqueue.verify()');
end
$$;
revoke all on function pgqueue.why_waiting(uuid) from public;
