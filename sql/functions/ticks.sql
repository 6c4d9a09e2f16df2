-- Running schedules: ticks become jobs. What overlap and catch_up mean, and the lock order, is told in schedules.sql.

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
