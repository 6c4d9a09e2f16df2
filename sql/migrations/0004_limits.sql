-- Limits: how many jobs may run at once, how many may start in a time, and in which order those of one key run.

insert into pgqueue.migrations (version, name) values (4, 'limits');

alter table pgqueue.settings
    add column limited boolean not null default false,
    -- Types and queues that some limit is about (note_limit()): claims read this row anyway.
    add column limited_names text[] not null default '{}';

alter table pgqueue.jobs
    add column concurrency_key text,
    add column ordering_key text,
    add column ordering_on_failure text;

-- What is limited. rate_step: the time between two starts when the bucket is empty, rounded up, so that the rate is never exceeded.
create table pgqueue.limits (
    id bigint generated always as identity primary key,
    kind text not null,
    name text not null,
    max_running integer,
    rate_jobs integer,
    rate_interval interval,
    rate_burst integer,
    rate_step interval generated always as (
        make_interval(secs => (ceil(extract(epoch from rate_interval) * 1000000 / rate_jobs) / 1000000)::double precision)) stored,
    operator_managed boolean not null default false,
    description text,
    updated_at timestamptz not null default clock_timestamp(),
    constraint limits_kind_name_key unique (kind, name),
    constraint limits_kind_check check (kind in ('job_type', 'queue', 'tenant', 'key')),
    constraint limits_name_check check (length(name) between 1 and 100),
    constraint limits_name_any_check check (name <> '*' or kind in ('tenant', 'key')),
    constraint limits_max_running_check check (max_running between 1 and 10000),
    constraint limits_rate_jobs_check check (rate_jobs between 1 and 1000000),
    constraint limits_rate_interval_check check (rate_interval between interval '1 millisecond' and interval '30 days'),
    constraint limits_rate_burst_check check (rate_burst between 1 and 1000000),
    constraint limits_rate_together_check check (
        (rate_jobs is null) = (rate_interval is null) and (rate_jobs is null) = (rate_burst is null)),
    constraint limits_max_running_or_rate_check check (max_running is not null or rate_jobs is not null)
);

-- Who holds a place under a gate: a row counts while its attempt is in running.
create table pgqueue.slots (
    job_id uuid not null,
    token bigint not null,
    gate text not null,
    constraint slots_pkey primary key (job_id, gate)
);
create index slots_gate_idx on pgqueue.slots (gate);

-- Gates at which something may have become free: looked at under the gate's lock, from opens_at on, at once by default. made_at tells a
-- clock that was set back.
create table pgqueue.openings (
    id bigint generated always as identity,
    opens_at timestamptz not null default now(),
    made_at timestamptz not null default now(),
    gate text not null,
    constraint openings_pkey primary key (opens_at, id)
);
-- Those for a later time: the next token.
create index openings_later_idx on pgqueue.openings (gate) where opens_at > made_at;

-- Rates: when the bucket of a gate will be full again. Appended at each admission and the one before deleted, by its key: the
-- newest is the last of its gate, so that a snapshot held for hours leaves nothing to step over.
create table pgqueue.gate_buckets (
    gate text not null,
    id bigint generated always as identity,
    full_at timestamptz not null,
    constraint gate_buckets_pkey primary key (gate, id)
);
create index gate_buckets_full_at_idx on pgqueue.gate_buckets (full_at);

-- The unfinished jobs of each ordering key, in order of arrival; the first is the one that may run.
create table pgqueue.ordered_jobs (
    gate text not null,
    seq bigint generated always as identity,
    job_id uuid not null,
    constraint ordered_jobs_pkey primary key (gate, seq),
    constraint ordered_jobs_job_id_key unique (job_id)
);

-- reason 'limit': parked at a gate by a claim; pos and ready_at are what it had in ready.
alter table pgqueue.blocked
    add column gate text,
    add column pos bigint,
    add column ready_at timestamptz,
    drop constraint blocked_reason_check,
    add constraint blocked_reason_check check (reason in ('follow_up', 'dependencies', 'limit'));
create index blocked_gate_idx on pgqueue.blocked (gate, queue, job_type, priority, pos) where gate is not null;

alter table pgqueue.slots set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
alter table pgqueue.openings set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
alter table pgqueue.gate_buckets set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
alter table pgqueue.ordered_jobs set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
alter table pgqueue.blocked set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
