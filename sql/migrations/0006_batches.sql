-- Batches of jobs, jobs that wait for a signal, and deadlines of jobs.

insert into pgqueue.migrations (version, name) values (6, 'batches');

alter table pgqueue.jobs
    add column batch_id uuid,
    add column deadline_at timestamptz;
-- Jobs without a batch are not in it.
create index jobs_batch_id_idx on pgqueue.jobs (batch_id, id) where batch_id is not null;

-- What a batch wants, and its numbers as merged from batch_log. Updated about once a second while its jobs finish, and by the
-- last of them.
create table pgqueue.batches (
    id uuid not null default pgqueue.uuid_v7(),
    name text,
    description text,
    tenant_id text,
    total bigint not null default 0,
    succeeded bigint not null default 0,
    failed bigint not null default 0,
    cancelled bigint not null default 0,
    log_floor bigint not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null default session_user,
    closed_at timestamptz,
    finished_at timestamptz,
    success_job_id uuid,
    failure_job_id uuid,
    complete_job_id uuid,
    on_success jsonb,
    on_failure jsonb,
    on_complete jsonb,
    refused jsonb not null default '{}',
    constraint batches_pkey primary key (id),
    constraint batches_name_check check (length(name) between 1 and 200),
    constraint batches_tenant_id_check check (length(tenant_id) between 1 and 100),
    constraint batches_on_success_check check (jsonb_typeof(on_success) = 'object'),
    constraint batches_on_failure_check check (jsonb_typeof(on_failure) = 'object'),
    constraint batches_on_complete_check check (jsonb_typeof(on_complete) = 'object'),
    constraint batches_finished_check check (finished_at is null or closed_at is not null)
) with (fillfactor = 50);
create index batches_finished_at_idx on pgqueue.batches (finished_at) where finished_at is not null;
-- For health: those that nobody has closed.
create index batches_open_idx on pgqueue.batches (created_at) where closed_at is null;

-- What happened in batches since they were merged: a row per statement that adds jobs, and per batch of each report that finishes
-- some. Never CACHE: log_floor goes by id.
create table pgqueue.batch_log (
    batch_id uuid not null,
    id bigint generated always as identity,
    added integer not null default 0,
    succeeded integer not null default 0,
    failed integer not null default 0,
    cancelled integer not null default 0,
    constraint batch_log_pkey primary key (batch_id, id)
);
alter table pgqueue.batch_log set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);

-- A job that waits for a signal: which, when it is looked at next, when its time is over, and what then.
alter table pgqueue.blocked
    add column signal text,
    add column look_at timestamptz,
    add column timeout_at timestamptz,
    add column on_timeout text,
    drop constraint blocked_reason_check,
    add constraint blocked_reason_check check (reason in ('follow_up', 'dependencies', 'limit', 'signal')),
    add constraint blocked_signal_check check ((reason = 'signal') = (signal is not null)),
    add constraint blocked_on_timeout_check check (on_timeout in ('fail', 'run'));
create index blocked_look_at_idx on pgqueue.blocked (look_at) where look_at is not null;

alter table pgqueue.attempts
    drop constraint attempts_outcome_check,
    add constraint attempts_outcome_check check (
        outcome in ('retrying', 'lost', 'timed_out', 'snoozed', 'released', 'redriven', 'paused'));

-- What jobs were told; the first of a name counts. Kept as long as the job.
create table pgqueue.signals (
    job_id uuid not null,
    name text not null,
    payload jsonb,
    timed_out boolean not null default false,
    sent_at timestamptz not null default clock_timestamp(),
    sent_by text not null default session_user,
    constraint signals_pkey primary key (job_id, name),
    constraint signals_name_check check (name ~ '^[A-Za-z0-9_.:-]{1,100}$'),
    constraint signals_payload_check check (pg_column_size(payload) <= 65536 and octet_length(payload::text) <= 262144)
);

-- What signal_token() signs with. Nobody reads it but the owner. Replacing it makes every token that is out void.
create table pgqueue.signal_secret (
    only_row boolean primary key default true,
    secret bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    constraint signal_secret_only_row_check check (only_row)
);
insert into pgqueue.signal_secret default values;
