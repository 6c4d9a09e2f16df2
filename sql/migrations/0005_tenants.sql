-- Turns between tenants, and what each may have waiting.

insert into pgqueue.migrations (version, name) values (5, 'tenants');

create table pgqueue.tenant_settings (
    tenant_id text not null,
    weight double precision not null default 1,
    waiting_max bigint,
    waiting_bytes_max bigint,
    payload_bytes_max bigint,
    constraint tenant_settings_pkey primary key (tenant_id),
    -- '' is all jobs without a tenant.
    constraint tenant_settings_tenant_id_check check (length(tenant_id) <= 100),
    constraint tenant_settings_weight_check check (weight between 0.125 and 100),
    constraint tenant_settings_waiting_max_check check (waiting_max between 0 and 10000000),
    constraint tenant_settings_waiting_bytes_max_check check (waiting_bytes_max >= 0),
    constraint tenant_settings_payload_bytes_max_check check (payload_bytes_max >= 0)
);
-- Who has a quota. The rows are few; the others' INSERTs look here first.
create index tenant_settings_quota_idx on pgqueue.tenant_settings (tenant_id)
    where waiting_max is not null or waiting_bytes_max is not null or payload_bytes_max is not null;

alter table pgqueue.queues add column fair boolean not null default false;

-- Filled in fair queues only, where '' stands for jobs without a tenant. Null costs no byte: the row has a bitmap of nulls anyway.
-- Its index comes and goes with the fair queues (fit_turns()).
alter table pgqueue.ready add column tenant_id text;

-- What was known of the lanes of fair queues, about once a second. Appended and read from the end, never updated: under a
-- held snapshot an updated row grows a chain of versions that every INSERT would walk.
create table pgqueue.lane_marks (
    queue text not null,
    priority smallint not null,
    mark bigint generated always as identity,
    first_pos bigint not null,
    drawn_pos bigint not null,
    xid xid8 not null,
    marked_at timestamptz not null default clock_timestamp(),
    constraint lane_marks_pkey primary key (queue, priority, mark)
);

-- The unfinished jobs of tenants with a quota, and the size of their payloads. Rows of finished jobs stay until the next count.
create table pgqueue.tenant_jobs (
    tenant_id text not null,
    id bigint generated always as identity,
    job_id uuid not null,
    payload_bytes bigint not null,
    constraint tenant_jobs_pkey primary key (tenant_id, id)
);
create index tenant_jobs_job_id_idx on pgqueue.tenant_jobs (job_id);

-- What was counted of them, about once a second. Appended and read from the end, as lane_marks.
create table pgqueue.tenant_counts (
    tenant_id text not null,
    id bigint generated always as identity,
    waiting bigint not null,
    waiting_bytes bigint not null,
    first_id bigint not null,
    last_id bigint not null,
    xid xid8 not null,
    cost interval not null default '0',
    counted_at timestamptz not null default clock_timestamp(),
    constraint tenant_counts_pkey primary key (tenant_id, id)
);
create index tenant_counts_id_idx on pgqueue.tenant_counts (id);
