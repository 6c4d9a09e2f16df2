-- Turns between tenants, and what each may have waiting.

insert into pgqueue.migrations (version, name) values (4, 'tenants');

create table pgqueue.tenant_settings (
    tenant_id text not null,
    weight double precision not null default 1,
    constraint tenant_settings_pkey primary key (tenant_id),
    -- '' is all jobs without a tenant.
    constraint tenant_settings_tenant_id_check check (length(tenant_id) <= 100),
    constraint tenant_settings_weight_check check (weight between 0.125 and 100)
);

alter table pgqueue.queues add column fair boolean not null default false;

-- Filled in fair queues only, where '' stands for jobs without a tenant. Null costs no byte: the row has a bitmap of nulls anyway.
alter table pgqueue.ready add column tenant_id text;
create index ready_tenant_idx on pgqueue.ready (queue, priority, tenant_id, pos) where tenant_id is not null;

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
