-- Schedules: ticks become jobs. No leader: whoever calls run_schedules() (every worker does, within maintain(); psql or
-- pg_cron may) locks the schedules that are due, skipping those that another caller has, and moves next_tick_at on in the
-- transaction that inserts the jobs. The primary key (schedule, tick) of schedule_runs is the second lock on that door.
--
-- overlap: what if the job of the run before has not finished?
--   allow  enqueue       skip  do not       queue  it runs after that one; at most one waits, with the latest payload
-- catch_up: what about ticks that are more than `grace` late, as after three hours without any worker?
--   skip   none of them  one   the latest   all    each of the latest catch_up_max
-- Ticks that are less late always run, in order. The job's headers name its schedule and its tick.
-- Lock order: schedules by (tenant, name), then as an enqueue. Proved by tests/sql/test_schedules.py and
-- tests/races/test_schedules.py.

-- The one place that words the PQ006 of a schedule that is not there.
create or replace function pgqueue.raise_no_schedule(p_name text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'PQ006', message = format('schedule %L does not exist', p_name),
        hint = 'select name from pgqueue.schedule_status lists them; a new one needs a cron expression and a job type.';
end
$$;
revoke all on function pgqueue.raise_no_schedule(text) from public;

-- Create a schedule or change it: an argument left NULL keeps what is there, or takes the column's default. A change of cron,
-- zone or enabled starts anew from now. p_declared: a worker says so at its start; what an operator has changed stays. Raises PQ006, also for
-- one that never ticks (the 30th of February), and 23514.
create or replace function pgqueue.set_schedule(
    p_name text,
    p_cron text default null,
    p_job_type text default null,
    p_payload jsonb default null,
    p_time_zone text default null,
    p_queue text default null,
    p_priority bigint default null,
    p_max_attempts bigint default null,
    p_timeout interval default null,
    p_headers jsonb default null,
    p_tenant_id text default null,
    p_overlap text default null,
    p_catch_up text default null,
    p_catch_up_max bigint default null,
    p_grace interval default null,
    p_jitter interval default null,
    p_enabled boolean default null,
    p_description text default null,
    p_declared boolean default false
)
returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_inserted bigint;
    v_old pgqueue.schedules;
    v_new pgqueue.schedules;
    v_broken text;
begin
    begin
        insert into pgqueue.schedules (name, cron, job_type)
        select p_name, p_cron, p_job_type where p_cron is not null and p_job_type is not null
        on conflict (name) do nothing;
        get diagnostics v_inserted = row_count;
        select * into v_old from pgqueue.schedules s where s.name = p_name for update;
        if not found then
            perform pgqueue.raise_no_schedule(p_name);
        end if;
        if p_declared and v_old.operator_managed then
            return v_old.next_tick_at;
        end if;
        update pgqueue.schedules s set
            cron = coalesce(p_cron, s.cron),
            job_type = coalesce(p_job_type, s.job_type),
            payload = coalesce(p_payload, s.payload),
            time_zone = coalesce(p_time_zone, s.time_zone),
            queue = coalesce(p_queue, s.queue),
            priority = coalesce(p_priority, s.priority),
            max_attempts = coalesce(p_max_attempts, s.max_attempts),
            timeout = coalesce(p_timeout, s.timeout),
            headers = coalesce(p_headers, s.headers),
            tenant_id = coalesce(p_tenant_id, s.tenant_id),
            overlap = coalesce(p_overlap, s.overlap),
            catch_up = coalesce(p_catch_up, s.catch_up),
            catch_up_max = coalesce(p_catch_up_max, s.catch_up_max),
            grace = coalesce(p_grace, s.grace),
            jitter = coalesce(p_jitter, s.jitter),
            enabled = coalesce(p_enabled, s.enabled),
            description = coalesce(p_description, s.description),
            operator_managed = s.operator_managed or (v_inserted = 0 and not p_declared),
            updated_at = clock_timestamp()
        where s.name = p_name
        returning * into v_new;
    exception when check_violation then
        get stacked diagnostics v_broken = constraint_name;
        perform pgqueue.refuse_check('pgqueue', 'schedules', v_broken, jsonb_build_object('name', p_name, 'cron', p_cron, 'job_type', p_job_type,
                'queue', p_queue, 'priority', p_priority, 'payload', p_payload, 'headers', p_headers, 'max_attempts', p_max_attempts,
                'timeout', p_timeout, 'overlap', p_overlap, 'catch_up', p_catch_up, 'catch_up_max', p_catch_up_max, 'grace', p_grace,
                'jitter', p_jitter),
            'For example: select pgqueue.set_schedule(''nightly'', ''30 2 * * *'', ''send_report'', ''{"to": "all"}'', p_time_zone => ''Europe/Berlin'').');
    end;
    if v_inserted = 1 or (v_new.cron, v_new.time_zone, v_new.enabled) is distinct from (v_old.cron, v_old.time_zone, v_old.enabled) then
        update pgqueue.schedules s set next_tick_at = pgqueue.next_tick(v_new.cron, v_new.time_zone, clock_timestamp())
        where s.name = p_name
        returning * into v_new;
        if v_new.next_tick_at is null then
            raise exception using errcode = 'PQ006', message = format('schedule %L would never tick: no day of the next 50 years matches %L',
                    p_name, v_new.cron),
                hint = 'Look at its day of the month and its month; select * from pgqueue.next_ticks(cron) shows when an expression ticks.';
        end if;
    end if;
    return v_new.next_tick_at;
end
$$;
revoke all on function pgqueue.set_schedule(text, text, text, jsonb, text, text, bigint, bigint, interval, jsonb, text, text, text, bigint, interval, interval, boolean, text, boolean) from public;

-- What a worker's handlers declare, as a JSON array of objects whose keys are set_schedule()'s arguments without p_; times
-- in seconds (timeout_seconds, grace_seconds, jitter_seconds). In the order of their names: two workers start at once.
create or replace function pgqueue.register_schedules(p_schedules jsonb)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    select pgqueue.set_schedule(d.name, d.cron, d.job_type, d.payload, d.time_zone, d.queue, d.priority, d.max_attempts,
        pgqueue.seconds(d.timeout_seconds), d.headers, d.tenant_id, d.overlap, d.catch_up, d.catch_up_max,
        pgqueue.seconds(d.grace_seconds), pgqueue.seconds(d.jitter_seconds), d.enabled, d.description, true)
    from jsonb_to_recordset(p_schedules) as d (
        name text, cron text, job_type text, payload jsonb, time_zone text, queue text, priority bigint, max_attempts bigint,
        timeout_seconds double precision, headers jsonb, tenant_id text, overlap text, catch_up text, catch_up_max bigint,
        grace_seconds double precision, jitter_seconds double precision, enabled boolean, description text)
    order by d.name;
$$;
revoke all on function pgqueue.register_schedules(jsonb) from public;

-- Ticks that come while a schedule is paused are not made up for. Pausing twice keeps the first time.
create or replace function pgqueue.pause_schedule(p_name text, p_reason text default null)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update pgqueue.schedules s
    set paused_at = coalesce(s.paused_at, clock_timestamp()), paused_reason = coalesce(p_reason, s.paused_reason)
    where s.name = p_name;
    if not found then
        perform pgqueue.raise_no_schedule(p_name);
    end if;
end
$$;
revoke all on function pgqueue.pause_schedule(text, text) from public;

create or replace function pgqueue.resume_schedule(p_name text)
returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_next timestamptz;
begin
    update pgqueue.schedules s
    set paused_at = null, paused_reason = null,
        next_tick_at = case when s.paused_at is null then s.next_tick_at
            else pgqueue.next_tick(s.cron, s.time_zone, clock_timestamp()) end
    where s.name = p_name
    returning s.next_tick_at into v_next;
    if not found then
        perform pgqueue.raise_no_schedule(p_name);
    end if;
    return v_next;
end
$$;
revoke all on function pgqueue.resume_schedule(text) from public;

-- Its jobs and its runs stay. False = there was none.
create or replace function pgqueue.remove_schedule(p_name text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from pgqueue.schedules s where s.name = p_name;
    return found;
end
$$;
revoke all on function pgqueue.remove_schedule(text) from public;

-- Run it once now, whatever its state and overlap; its ticks stay where they are. Returns the job's id.
create or replace function pgqueue.run_schedule_now(p_name text)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_schedule pgqueue.schedules;
    v_now timestamptz := clock_timestamp();
    v_id uuid;
begin
    select * into v_schedule from pgqueue.schedules s where s.name = p_name for update;
    if not found then
        perform pgqueue.raise_no_schedule(p_name);
    end if;
    v_id := pgqueue.enqueue_tick(v_schedule, v_now, interval '0');
    insert into pgqueue.schedule_runs (schedule, tick_at, outcome, job_id) values (p_name, v_now, 'by_hand', v_id);
    return v_id;
end
$$;
revoke all on function pgqueue.run_schedule_now(text) from public;

-- The job of one tick.
create or replace function pgqueue.enqueue_tick(p_schedule pgqueue.schedules, p_tick_at timestamptz, p_jitter interval)
returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job pgqueue.jobs;
    v_id uuid;
begin
    v_job.tenant_id := p_schedule.tenant_id;
    v_job.job_type := p_schedule.job_type;
    v_job.queue := p_schedule.queue;
    v_job.priority := p_schedule.priority;
    v_job.payload := p_schedule.payload;
    v_job.max_attempts := p_schedule.max_attempts;
    v_job.timeout := p_schedule.timeout;
    v_job.headers := coalesce(p_schedule.headers, '{}')
        || jsonb_build_object('schedule', p_schedule.name, 'tick_at', to_jsonb(p_tick_at at time zone 'UTC') #>> '{}' || 'Z');
    v_job.run_at := case when p_jitter > interval '0' then p_tick_at + random() * p_jitter end;
    v_job.unique_key := case when p_schedule.overlap = 'queue' then 'schedule/' || p_schedule.name end;
    select i.id into v_id from pgqueue.insert_one(v_job, 'replace') i;
    return v_id;
end
$$;
revoke all on function pgqueue.enqueue_tick(pgqueue.schedules, timestamptz, interval) from public;

-- The ticks within [p_from, p_before), the first p_count of them.
create or replace function pgqueue.ticks_within(p_cron text, p_time_zone text, p_from timestamptz, p_before timestamptz, p_count integer)
returns timestamptz[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tick timestamptz := p_from - interval '1 microsecond';
    v_ticks timestamptz[] := array[]::timestamptz[];
begin
    while cardinality(v_ticks) < p_count loop
        v_tick := pgqueue.next_tick(p_cron, p_time_zone, v_tick);
        -- next_tick() goes by whole seconds: the first may lie before p_from.
        continue when v_tick < p_from;
        exit when v_tick is null or v_tick >= p_before;
        v_ticks := array_append(v_ticks, v_tick);
    end loop;
    return v_ticks;
end
$$;
revoke all on function pgqueue.ticks_within(text, text, timestamptz, timestamptz, integer) from public;

-- The latest p_count ticks within [p_from, p_before). Looks back twice as far each time until there are enough, then halves the way
-- back to where there were too few: each look stops at twice as many, so that the cost follows p_count, neither the time
-- that was missed nor how densely it ticked ("each second of January", missed until March: 700,000 ticks).
create or replace function pgqueue.latest_ticks(p_cron text, p_time_zone text, p_from timestamptz, p_before timestamptz, p_count integer)
returns timestamptz[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_enough integer := 2 * p_count + 60;
    v_back interval := interval '1 minute';
    v_low timestamptz := p_before;
    v_high timestamptz := p_before;     -- fewer than p_count ticks at or after this
    v_middle timestamptz;
    v_ticks timestamptz[] := array[]::timestamptz[];
begin
    while p_count > 0 and cardinality(v_ticks) < p_count and v_low > p_from loop
        v_high := v_low;
        v_low := greatest(p_from, p_before - v_back);
        v_ticks := pgqueue.ticks_within(p_cron, p_time_zone, v_low, p_before, v_enough);
        v_back := v_back * 2;
    end loop;
    while cardinality(v_ticks) >= v_enough and v_high - v_low > interval '1 second' loop
        v_middle := v_low + (v_high - v_low) / 2;
        v_ticks := pgqueue.ticks_within(p_cron, p_time_zone, v_middle, p_before, v_enough);
        if cardinality(v_ticks) < p_count then
            v_high := v_middle;
            v_ticks := pgqueue.ticks_within(p_cron, p_time_zone, v_low, p_before, v_enough);
        else
            v_low := v_middle;
        end if;
    end loop;
    return v_ticks[greatest(cardinality(v_ticks) - p_count, 0) + 1:];
end
$$;
revoke all on function pgqueue.latest_ticks(text, text, timestamptz, timestamptz, integer) from public;

-- The ticks of one due schedule, whose row the caller has locked; returns how many jobs they made. At most 1,000 at a time.
create or replace function pgqueue.run_schedule(p_schedule pgqueue.schedules, p_now timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_late timestamptz := p_now - p_schedule.grace;
    v_ticks timestamptz[] := array[]::timestamptz[];
    v_tick timestamptz := p_schedule.next_tick_at;
    v_ran bigint := 0;
begin
    if v_tick < v_late then
        v_ticks := pgqueue.latest_ticks(p_schedule.cron, p_schedule.time_zone, v_tick, v_late,
            case p_schedule.catch_up when 'skip' then 0 when 'one' then 1 else p_schedule.catch_up_max end);
        if v_ticks = '{}' or v_ticks[1] > v_tick then
            insert into pgqueue.schedule_runs (schedule, tick_at, outcome, missed_until)
            values (p_schedule.name, v_tick, 'missed', coalesce(v_ticks[1], v_late))
            on conflict (schedule, tick_at) do nothing;
        end if;
        v_tick := pgqueue.next_tick(p_schedule.cron, p_schedule.time_zone, v_late - interval '1 microsecond');
        if v_tick < v_late then
            v_tick := pgqueue.next_tick(p_schedule.cron, p_schedule.time_zone, v_tick);
        end if;
    end if;
    while v_tick <= p_now and cardinality(v_ticks) < 1000 loop
        v_ticks := array_append(v_ticks, v_tick);
        v_tick := pgqueue.next_tick(p_schedule.cron, p_schedule.time_zone, v_tick);
    end loop;
    update pgqueue.schedules s set next_tick_at = v_tick where s.name = p_schedule.name;
    foreach v_tick in array v_ticks loop
        v_ran := v_ran + pgqueue.run_tick(p_schedule, v_tick)::integer;
    end loop;
    return v_ran;
end
$$;
revoke all on function pgqueue.run_schedule(pgqueue.schedules, timestamptz) from public;

-- One tick; true = it made a job. What the tables or an application's trigger refuse (an unknown job type) is written
-- down and not tried again; anything else (a deadlock, a timeout) undoes the whole call, and the tick comes again.
create or replace function pgqueue.run_tick(p_schedule pgqueue.schedules, p_tick_at timestamptz)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_before uuid;
begin
    if exists (select from pgqueue.schedule_runs r where r.schedule = p_schedule.name and r.tick_at = p_tick_at) then
        return false;
    end if;
    if p_schedule.overlap = 'skip' then
        select r.job_id into v_before from pgqueue.schedule_runs r
        where r.schedule = p_schedule.name and r.job_id is not null
        order by r.tick_at desc limit 1;
        if exists (select from pgqueue.jobs j where j.id = v_before)
            and not exists (select from pgqueue.finished f where f.job_id = v_before)
        then
            insert into pgqueue.schedule_runs (schedule, tick_at, outcome) values (p_schedule.name, p_tick_at, 'skipped');
            return false;
        end if;
    end if;
    begin
        insert into pgqueue.schedule_runs (schedule, tick_at, outcome, job_id)
        values (p_schedule.name, p_tick_at, 'enqueued', pgqueue.enqueue_tick(p_schedule, p_tick_at, p_schedule.jitter));
        return true;
    exception when integrity_constraint_violation or data_exception or program_limit_exceeded or raise_exception or sqlstate 'PQ008' then
        insert into pgqueue.schedule_runs (schedule, tick_at, outcome, error) values (p_schedule.name, p_tick_at, 'refused', left(sqlerrm, 1000));
        return false;
    end;
end
$$;
revoke all on function pgqueue.run_tick(pgqueue.schedules, timestamptz) from public;

-- Run what is due, of at most p_limit schedules, and stop after the one with which a second is over: 1,000 schedules of 1,000
-- ticks each would outlast every caller's deadline, be undone and start anew. Returns how many jobs that made, and when to come back.
create or replace function pgqueue.run_schedules(p_limit integer default 1000)
returns table (enqueued bigint, next_tick_at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
    v_schedule pgqueue.schedules;
    v_jobs bigint := 0;
begin
    perform pgqueue.check_isolation();
    for v_schedule in
        select * from pgqueue.schedules s
        where s.enabled and s.paused_at is null and s.next_tick_at <= v_now
        order by s.tenant_id nulls first, s.name
        limit p_limit
        for update skip locked
    loop
        begin
            v_jobs := v_jobs + pgqueue.run_schedule(v_schedule, v_now);
        exception when others then
            raise warning 'schedule % failed: % (SQLSTATE %)', v_schedule.name, sqlerrm, sqlstate;
        end;
        exit when clock_timestamp() > v_now + interval '1 second';
    end loop;
    return query
        select v_jobs, min(s.next_tick_at) from pgqueue.schedules s where s.enabled and s.paused_at is null;
end
$$;
revoke all on function pgqueue.run_schedules(integer) from public;

-- Forget runs older than the retention of finished jobs, but not a schedule's latest that made a job: overlap => 'skip' looks
-- there whether the job has finished.
create or replace function pgqueue.forget_schedule_runs(p_limit integer default 1000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_before timestamptz := clock_timestamp() - least(interval '1000 years', (select s.retention from pgqueue.settings s));
    v_forgotten bigint;
begin
    delete from pgqueue.schedule_runs r
    where r.ctid = any (array(
        select d.ctid from pgqueue.schedule_runs d
        where d.created_at < v_before
            and (d.job_id is null
                or not exists (select from pgqueue.schedules s where s.name = d.schedule)
                or exists (select from pgqueue.schedule_runs l where l.schedule = d.schedule and l.tick_at > d.tick_at and l.job_id is not null))
        order by d.created_at limit p_limit for update skip locked));
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke all on function pgqueue.forget_schedule_runs(integer) from public;
