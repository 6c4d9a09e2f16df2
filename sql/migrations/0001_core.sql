-- The tables of pgqueue. Run once, in one transaction, by the schema's owner. Never edited after a release.
--
-- A job's request is one row of pgqueue.jobs. Where the job stands is told by which of five tables holds its
-- other row: ready, scheduled, blocked, running (unfinished) or finished. A move is one DELETE ... RETURNING
-- into INSERT; no row is updated on the way, so the claim index never carries dead versions of live jobs.
-- There are no foreign keys between these tables: they would lock jobs rows on every move. pgqueue.verify()
-- checks what foreign keys would have promised.
--
-- Lock order, everywhere: running, jobs, then ready/scheduled/blocked, then finished; within a table by job_id.
-- claim() takes ready rows with SKIP LOCKED and never waits.

create table pgqueue.migrations (
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default clock_timestamp(),
    applied_by text not null default session_user
);
insert into pgqueue.migrations (version, name) values (1, 'core');

-- The same for applications that install their own SQL beside this schema, each in a schema of its name.
create table pgqueue.app_migrations (
    app text not null,
    version integer not null,
    name text not null,
    applied_at timestamptz not null default clock_timestamp(),
    applied_by text not null default session_user,
    constraint app_migrations_pkey primary key (app, version),
    constraint app_migrations_app_check check (app ~ '^[a-z_][a-z0-9_]{0,62}$'),
    constraint app_migrations_version_check check (version between 1 and 9999)
);

-- What the last install left in the catalogue, so that drift() can name what somebody changed since.
create table pgqueue.installed_objects (
    kind text not null,
    name text not null,
    fingerprint text not null,
    constraint installed_objects_pkey primary key (kind, name)
);

create table pgqueue.settings (
    only_row boolean primary key default true,
    strict_job_types boolean not null default false,
    max_attempts integer not null default 5,
    backoff_base interval not null default '5 seconds',
    backoff_factor double precision not null default 2,
    backoff_cap interval not null default '1 hour',
    retention interval not null default '30 days',
    timeout_grace interval not null default '30 seconds',
    aging interval not null default '0',
    constraint settings_only_row_check check (only_row),
    constraint settings_max_attempts_check check (max_attempts between 1 and 10000),
    constraint settings_backoff_base_check check (backoff_base between interval '1 millisecond' and interval '7 days'),
    constraint settings_backoff_factor_check check (backoff_factor between 1 and 100),
    constraint settings_backoff_cap_check check (backoff_cap between interval '1 millisecond' and interval '30 days'),
    constraint settings_retention_check check (retention >= interval '0'),
    constraint settings_timeout_grace_check check (timeout_grace >= interval '0'),
    constraint settings_aging_check check (aging = interval '0' or aging between interval '1 second' and interval '365 days')
);
insert into pgqueue.settings default values;

create table pgqueue.job_types (
    job_type text primary key,
    enabled boolean not null default true,
    paused_at timestamptz,
    paused_reason text,
    queue text,
    max_attempts integer,
    timeout interval,
    backoff_base interval,
    backoff_factor double precision,
    backoff_cap interval,
    retention interval,
    description text,
    operator_managed boolean not null default false,
    detour integer not null default 0,
    plain boolean not null generated always as (enabled and detour = 0 and not starts_with(job_type, 'pgqueue.')) stored,
    registered_at timestamptz not null default clock_timestamp(),
    constraint job_types_job_type_check check (length(job_type) between 1 and 100),
    constraint job_types_queue_check check (length(queue) between 1 and 63),
    constraint job_types_max_attempts_check check (max_attempts between 1 and 10000),
    constraint job_types_timeout_check check (timeout between interval '1 millisecond' and interval '30 days'),
    constraint job_types_backoff_base_check check (backoff_base between interval '1 millisecond' and interval '7 days'),
    constraint job_types_backoff_factor_check check (backoff_factor between 1 and 100),
    constraint job_types_backoff_cap_check check (backoff_cap between interval '1 millisecond' and interval '30 days'),
    constraint job_types_retention_check check (retention >= interval '0')
);

create table pgqueue.queues (
    queue text primary key,
    paused_at timestamptz,
    paused_reason text,
    description text,
    constraint queues_queue_check check (length(queue) between 1 and 63)
);

create table pgqueue.tenants (
    role_name name primary key,
    tenant_id text not null,
    constraint tenants_tenant_id_check check (length(tenant_id) between 1 and 100)
);

create table pgqueue.workers (
    id bigint generated always as identity primary key,
    instance uuid not null,
    name text not null,
    queues text[] not null,
    job_types text[],
    lease interval not null,
    started_at timestamptz not null default clock_timestamp(),
    heartbeat_at timestamptz not null default clock_timestamp(),
    draining_at timestamptz,
    stopped_at timestamptz,
    dead_at timestamptz,
    rescued_at timestamptz,
    meta jsonb not null default '{}',
    constraint workers_instance_key unique (instance),
    constraint workers_name_check check (length(name) between 1 and 200),
    constraint workers_queues_check check (cardinality(queues) between 1 and 100),
    constraint workers_lease_check check (lease between interval '500 milliseconds' and interval '1 hour')
) with (fillfactor = 50);

-- UUID version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits. PostgreSQL 18 has its own.
do $$
begin
    if current_setting('server_version_num')::integer >= 180000 then
        execute $fn$
            create function pgqueue.uuid_v7() returns uuid
            language sql volatile parallel safe
            begin atomic
                select uuidv7();
            end
        $fn$;
    else
        execute $fn$
            create function pgqueue.uuid_v7() returns uuid
            language sql volatile parallel safe
            begin atomic
                select encode(
                    set_bit(set_bit(
                        overlay(uuid_send(gen_random_uuid())
                            placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                            from 1 for 6),
                        52, 1), 53, 1),
                    'hex')::uuid;
            end
        $fn$;
    end if;
end
$$;

-- The public contract: what was asked. Producers INSERT here; only the functions move the job afterwards.
-- Its limits are in pgqueue.job_limit() and not CHECKs: PostgreSQL parses and plans the CHECKs of a table anew for every statement,
-- which took 120 of the 270 microseconds of CPU of a single-row INSERT. A refusal looks the same: 23514 and a name.
-- queue, max_attempts, timeout NULL = the job type's; run_at NULL = as soon as the insert commits.
create table pgqueue.jobs (
    id uuid not null default pgqueue.uuid_v7(),
    job_type text not null,
    queue text,
    priority smallint not null default 1,
    payload jsonb not null default '{}',
    run_at timestamptz,
    expires_at timestamptz,
    max_attempts integer,
    timeout interval,
    idempotency_key text,
    unique_key text,
    tenant_id text,
    headers jsonb,
    notify boolean,
    feed text,
    callback_url text,
    callback_of uuid,
    created_at timestamptz not null default now(),
    created_by text not null default session_user,
    constraint jobs_pkey primary key (id)
);
-- Partial: a job without a key costs nothing here. NULL tenants are one tenant.
create unique index jobs_idempotency_key on pgqueue.jobs (tenant_id, idempotency_key) nulls not distinct
    where idempotency_key is not null;
-- unique_key is set back to NULL when its job finishes; pgqueue.finished keeps it for the record.
create unique index jobs_unique_key on pgqueue.jobs (tenant_id, unique_key) nulls not distinct
    where unique_key is not null;

-- Positions only grow; a job that comes back draws a new one. Workers' claim floors rest on this. Never CACHE: a session
-- that drew 32 positions an hour ago would insert below every floor, and ahead of all who came in between.
-- In steps of 65,536: fair queues (fairness.sql) place jobs in between, at even positions, never beyond the last one drawn.
create sequence pgqueue.position_seq as bigint increment by 65536;
-- Fencing tokens: drawn at each claim, never reused. Never CACHE: a receiver rejects the lower of two tokens of a job, so a
-- later claim by another session must draw a higher one.
create sequence pgqueue.token_seq as bigint;
-- A row: token_seq is ahead of every token drawn. Empty after a crash or a failover, as told in tokens.sql. The first
-- mark needs no leap: whatever crash takes back a token takes the mark with it.
create unlogged table pgqueue.token_marks (
    id uuid not null,
    made_by xid not null,
    made_in oid not null,
    made_at timestamptz not null default clock_timestamp(),
    constraint token_marks_pkey primary key (id)
);
insert into pgqueue.token_marks (id, made_by, made_in) values (gen_random_uuid(), '0', 0);
update pgqueue.token_marks m set made_by = m.xmin, made_in = m.tableoid;

-- flags (ready, scheduled, blocked, running). A job without any pays for nothing of this:
--      1  it holds a unique_key                        64  it counts in its batch when it finishes
--      2  NOTIFY when it finishes                     128  the hooks of its type are called
--      4  its feed gets a completion                  256  it is told its signals when it is claimed
--      8  its callback_url is called                 1024  in blocked alone: a hook holds it back,
--     16  its dependents are looked for                    whatever else it waits for
--     32  waiting: it has an ordering_key; running: that, or it holds places under limits
-- In ready, running, finished and stats_log the columns stand by width, 8 bytes, 4, 2, text: no padding. smallint is enough for
-- attempts: max_attempts ends at 10,000, and a retry begins again at 0. WAL records of the benchmark's job, each rounded up to 8 bytes:
-- ready 124 -> 120 bytes, running 140 -> 136, finished 153 -> 151; stats_log 128 -> 116.
create table pgqueue.ready (
    job_id uuid not null,
    pos bigint not null default nextval('pgqueue.position_seq'),
    ready_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    attempts smallint not null default 0,
    flags smallint not null default 0,
    priority smallint not null,
    queue text not null,
    job_type text not null,
    constraint ready_pkey primary key (job_id)
);
-- Not unique: two jobs of a fair queue may lie at one position, and nothing rests on positions being different.
create index ready_claim_key on pgqueue.ready (queue, priority, pos) with (deduplicate_items = off);
create index ready_expires_at_idx on pgqueue.ready (expires_at) where expires_at is not null;

create table pgqueue.scheduled (
    job_id uuid not null,
    due_at timestamptz not null,
    reason text not null,
    queue text not null,
    priority smallint not null,
    job_type text not null,
    attempts smallint not null default 0,
    flags smallint not null default 0,
    expires_at timestamptz,
    constraint scheduled_pkey primary key (job_id),
    constraint scheduled_due_at_check check (isfinite(due_at)),
    constraint scheduled_reason_check check (reason in ('run_at', 'retry', 'snooze'))
);
create index scheduled_due_at_idx on pgqueue.scheduled (due_at);
create index scheduled_expires_at_idx on pgqueue.scheduled (expires_at) where expires_at is not null;

create table pgqueue.blocked (
    job_id uuid not null,
    reason text not null,
    waits_for uuid,
    unique_key text,
    run_at timestamptz,
    queue text not null,
    priority smallint not null,
    job_type text not null,
    attempts smallint not null default 0,
    flags smallint not null default 0,
    expires_at timestamptz,
    blocked_at timestamptz not null default clock_timestamp(),
    constraint blocked_pkey primary key (job_id),
    constraint blocked_reason_check check (reason in ('follow_up'))
);
-- At most one follow-up waits behind a job.
create unique index blocked_follow_up_key on pgqueue.blocked (waits_for) where reason = 'follow_up';
create index blocked_expires_at_idx on pgqueue.blocked (expires_at) where expires_at is not null;

create table pgqueue.running (
    job_id uuid not null,
    token bigint not null,
    worker_id bigint not null,
    ready_at timestamptz not null,
    started_at timestamptz not null,
    deadline_at timestamptz,
    progress_at timestamptz,
    cancel_requested_at timestamptz,
    progress real,
    attempt smallint not null,
    flags smallint not null,
    priority smallint not null,
    queue text not null,
    job_type text not null,
    progress_message text,
    cancel_reason text,
    constraint running_pkey primary key (job_id),
    constraint running_progress_check check (progress between 0 and 100),
    constraint running_progress_message_check check (length(progress_message) <= 1000)
) with (fillfactor = 85);
create index running_deadline_at_idx on pgqueue.running (deadline_at) where deadline_at is not null;
create index running_cancel_idx on pgqueue.running (worker_id) where cancel_requested_at is not null;

-- Jobs that a part of maintain() could not move (move_each() in sql/functions/rescue.sql): it steps over them for a minute.
create table pgqueue.maintenance_failures (
    part text not null,
    job_id uuid not null,
    next_try_at timestamptz not null,
    error text not null,
    constraint maintenance_failures_pkey primary key (part, job_id)
);

create table pgqueue.finished (
    job_id uuid not null,
    token bigint,
    worker_id bigint,
    ready_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz not null,
    progress real,
    attempt smallint not null,
    taken_back boolean not null default false,
    status text not null,
    job_type text not null,
    queue text not null,
    result jsonb,
    result_url text,
    errors jsonb,
    metrics jsonb,
    progress_message text,
    unique_key text,
    reason text,
    constraint finished_pkey primary key (job_id),
    constraint finished_status_check check (status in ('succeeded', 'partial', 'failed', 'cancelled')),
    constraint finished_errors_check check (jsonb_typeof(errors) = 'array'),
    constraint finished_metrics_check check (jsonb_typeof(metrics) = 'object'),
    constraint finished_result_size_check check (pg_column_size(result) <= 16777216),
    constraint finished_result_url_check check (length(result_url) <= 2000)
);
-- Retention works type by type: one with a long retention is not stepped over for another's sake.
create index finished_retention_idx on pgqueue.finished (job_type, finished_at);
-- With the queue: queue_stats counts the latest 10,000 failures, and where one job in a hundred fails each is in a page of its own.
create index finished_failed_idx on pgqueue.finished (finished_at) include (queue) where status = 'failed';

-- One row per attempt that ended without finishing the job, and per finish that a retry undid.
create table pgqueue.attempts (
    job_id uuid not null,
    token bigint not null,
    attempt integer not null,
    outcome text not null,
    worker_id bigint,
    started_at timestamptz,
    ended_at timestamptz not null default clock_timestamp(),
    error jsonb,
    constraint attempts_pkey primary key (job_id, token),
    constraint attempts_outcome_check check (
        outcome in ('retrying', 'lost', 'timed_out', 'snoozed', 'released', 'redriven')),
    constraint attempts_error_check check (jsonb_typeof(error) = 'object')
);

-- What a job created: written by its handler, committed with its completion.
create table pgqueue.job_results (
    job_id uuid not null,
    entity_type text not null,
    entity_id text not null,
    created_at timestamptz not null default now(),
    constraint job_results_pkey primary key (job_id, entity_type, entity_id),
    constraint job_results_entity_type_check check (length(entity_type) between 1 and 100),
    constraint job_results_entity_id_check check (length(entity_id) between 1 and 255)
);
create index job_results_entity_idx on pgqueue.job_results (entity_type, entity_id);

-- Finished jobs that named a feed, until their reader acknowledges them or retention removes the job. Rows without a tenant
-- have ''. taken_until changes in place: no index has it.
create table pgqueue.completions (
    feed text not null,
    tenant_id text not null,
    id bigint generated always as identity,
    job_id uuid not null,
    job_type text not null,
    status text not null,
    finished_at timestamptz not null,
    taken_until timestamptz not null default '-infinity',
    taken integer not null default 0,
    constraint completions_pkey primary key (feed, tenant_id, id)
) with (fillfactor = 80);
-- For ack_completions(): without the tenant completions_pkey is read from the feed's first entry to its last.
create unique index completions_id_key on pgqueue.completions (id);
create index completions_job_id_idx on pgqueue.completions (job_id);

-- Whom callbacks may go to, and what they are signed with. Nobody reads secret but the owner: sign_callback() signs.
create table pgqueue.callback_secrets (
    id bigint generated always as identity primary key,
    host text not null,
    tenant_id text,
    secret text not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint callback_secrets_host_check check (length(host) <= 261 and host ~ '^[a-z0-9._\[\]-][a-z0-9.:_\[\]-]*$'),
    constraint callback_secrets_tenant_id_check check (length(tenant_id) between 1 and 100),
    -- As Standard Webhooks has it: whsec_ and 24 to 64 bytes in base64.
    constraint callback_secrets_secret_check check (secret ~ '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$')
);
create index callback_secrets_host_idx on pgqueue.callback_secrets (host);

-- Finishes and attempts, appended once per batch and bucket, and merged into stats by merge_stats().
-- A single row that every batch updates would grow a version chain under a long snapshot.
-- wait_bucket and run_bucket index pgqueue.stats_bounds(); NULL = the job never ran.
create table pgqueue.stats_log (
    minute timestamptz not null,
    worker_id bigint,
    jobs integer not null,
    wait_seconds real not null,
    run_seconds real not null,
    wait_bucket smallint,
    run_bucket smallint,
    job_type text not null,
    queue text not null,
    outcome text not null
);

-- span: 'minute' rows are kept for three hours, by worker; 'hour' rows for a year, without it.
create table pgqueue.stats (
    span text not null,
    starts_at timestamptz not null,
    job_type text not null,
    queue text not null,
    worker_id bigint,
    outcome text not null,
    wait_bucket smallint,
    run_bucket smallint,
    jobs bigint not null,
    wait_seconds double precision not null,
    run_seconds double precision not null,
    constraint stats_span_check check (span in ('minute', 'hour'))
);
create unique index stats_key on pgqueue.stats
    (span, starts_at, job_type, queue, worker_id, outcome, wait_bucket, run_bucket) nulls not distinct;

-- Hot tables turn over completely many times an hour: vacuum them by count, not by a share of their size, at
-- full speed, and never take the exclusive lock that giving empty pages back needs.
alter table pgqueue.ready set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    vacuum_truncate = false);
alter table pgqueue.running set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    vacuum_truncate = false);
alter table pgqueue.scheduled set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
alter table pgqueue.completions set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
alter table pgqueue.stats_log set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
