-- Schedules: ticks become jobs. Here they are set and paused; ticks.sql runs them.
--
-- No leader: whoever calls run_schedules() (every worker does, within maintain(); psql or
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
    v_example constant text := 'For example: select pgqueue.set_schedule(''nightly'', ''30 2 * * *'', ''send_report'', ''{"to": "all"}'', p_time_zone => ''Europe/Berlin'').';
begin
    perform pgqueue.check_given('name', p_name, v_example);
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
            operator_managed = s.operator_managed or (v_inserted = 0 and not coalesce(p_declared, false)),
            updated_at = clock_timestamp()
        where s.name = p_name
        returning * into v_new;
    exception when check_violation or numeric_value_out_of_range then
        get stacked diagnostics v_broken = constraint_name;
        if v_broken = '' then
            -- What its column cannot hold at all breaks the column's CHECK, too; PostgreSQL says "smallint out of range".
            v_broken := case
                when p_priority not between 0 and 3 then 'schedules_priority_check'
                when p_max_attempts not between 1 and 10000 then 'schedules_max_attempts_check'
                when p_catch_up_max not between 1 and 1000 then 'schedules_catch_up_max_check' end;
            if v_broken is null then
                raise;
            end if;
        end if;
        perform pgqueue.refuse_check('pgqueue', 'schedules', v_broken, jsonb_build_object('name', p_name, 'cron', p_cron, 'job_type', p_job_type,
                'queue', p_queue, 'priority', p_priority, 'payload', p_payload, 'headers', p_headers, 'max_attempts', p_max_attempts,
                'timeout', p_timeout, 'overlap', p_overlap, 'catch_up', p_catch_up, 'catch_up_max', p_catch_up_max, 'grace', p_grace,
                'jitter', p_jitter),
            v_example);
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
