-- Schedules, and what became of each tick.

insert into pgqueue.migrations (version, name) values (2, 'schedules');

-- A few rows, one updated at each of its ticks: no index on next_tick_at, so that the update is HOT.
create table pgqueue.schedules (
    name text not null,
    cron text not null,
    time_zone text not null default 'UTC',
    job_type text not null,
    payload jsonb not null default '{}',
    queue text,
    priority smallint not null default 1,
    max_attempts integer,
    timeout interval,
    headers jsonb,
    tenant_id text,
    overlap text not null default 'allow',
    catch_up text not null default 'one',
    catch_up_max integer not null default 100,
    grace interval not null default '1 minute',
    jitter interval not null default '0',
    enabled boolean not null default true,
    paused_at timestamptz,
    paused_reason text,
    operator_managed boolean not null default false,
    description text,
    next_tick_at timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint schedules_pkey primary key (name),
    constraint schedules_name_check check (length(name) between 1 and 100),
    constraint schedules_cron_check check (length(cron) between 1 and 500),
    constraint schedules_job_type_check check (length(job_type) between 1 and 100),
    constraint schedules_queue_check check (length(queue) between 1 and 63),
    constraint schedules_priority_check check (priority between 0 and 3),
    constraint schedules_payload_check check (jsonb_typeof(payload) = 'object'),
    constraint schedules_headers_check check (jsonb_typeof(headers) = 'object'),
    constraint schedules_max_attempts_check check (max_attempts between 1 and 10000),
    constraint schedules_timeout_check check (timeout between interval '1 millisecond' and interval '30 days'),
    constraint schedules_overlap_check check (overlap in ('allow', 'skip', 'queue')),
    constraint schedules_catch_up_check check (catch_up in ('skip', 'one', 'all')),
    constraint schedules_catch_up_max_check check (catch_up_max between 1 and 1000),
    constraint schedules_grace_check check (grace between interval '0' and interval '1 day'),
    constraint schedules_jitter_check check (jitter between interval '0' and interval '1 day')
) with (fillfactor = 50);

-- One row per tick that came, whatever became of it. tick_at of a run by hand is the time of the call.
create table pgqueue.schedule_runs (
    schedule text not null,
    tick_at timestamptz not null,
    outcome text not null,
    job_id uuid,
    missed_until timestamptz,
    error text,
    created_at timestamptz not null default clock_timestamp(),
    constraint schedule_runs_pkey primary key (schedule, tick_at),
    constraint schedule_runs_outcome_check check (outcome in ('enqueued', 'by_hand', 'skipped', 'missed', 'refused')),
    constraint schedule_runs_job_check check ((job_id is not null) = (outcome in ('enqueued', 'by_hand')))
);
-- For overlap => 'skip': the latest run that made a job may lie behind a million that did not.
create index schedule_runs_job_idx on pgqueue.schedule_runs (schedule, tick_at) where job_id is not null;
create index schedule_runs_created_at_idx on pgqueue.schedule_runs (created_at);
