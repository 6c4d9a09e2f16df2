-- The warehouse's tables. Every row belongs to a tenant; who is confined to one (pgqueue.confine()) sees that one's rows.
--
-- The policies ask the role, never a setting, as pgqueue's own do. Workers and operators are confined to nothing; they get the
-- tenant from the job. Proved by tests/workers/warehouse/test_tenants.py.

comment on schema warehouse is 'Products and stock, imported: an example application of pgqueue.';

create table warehouse.products (
    tenant_id text not null,
    sku text not null,
    name text not null,
    unit text not null default 'piece',
    price numeric(12, 2) not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz,
    constraint products_pkey primary key (tenant_id, sku),
    constraint products_tenant_id_check check (length(tenant_id) between 1 and 255),
    constraint products_sku_check check (length(sku) between 1 and 64),
    constraint products_name_check check (length(name) between 1 and 200),
    constraint products_unit_check check (length(unit) between 1 and 20),
    constraint products_price_check check (price >= 0)
);
comment on table warehouse.products is 'One row per tenant and article, as last imported.';
comment on column warehouse.products.tenant_id is 'Whose row it is.';
comment on column warehouse.products.sku is 'The article.';
comment on column warehouse.products.name is 'For people.';
comment on column warehouse.products.unit is 'What one of it is.';
comment on column warehouse.products.price is 'What one of it costs.';
comment on column warehouse.products.created_at is 'When it was first imported.';
comment on column warehouse.products.updated_at is 'When an import changed it; null while it is as first imported.';

create table warehouse.stock_levels (
    tenant_id text not null,
    sku text not null,
    location text not null,
    quantity integer not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz,
    constraint stock_levels_pkey primary key (tenant_id, sku, location),
    constraint stock_levels_product_fkey foreign key (tenant_id, sku) references warehouse.products (tenant_id, sku),
    constraint stock_levels_location_check check (length(location) between 1 and 64),
    constraint stock_levels_quantity_check check (quantity >= 0)
);
comment on table warehouse.stock_levels is 'How many of an article lie where.';
comment on column warehouse.stock_levels.tenant_id is 'Whose row it is.';
comment on column warehouse.stock_levels.sku is 'The article.';
comment on column warehouse.stock_levels.location is 'Where.';
comment on column warehouse.stock_levels.quantity is 'How many.';
comment on column warehouse.stock_levels.created_at is 'When it was first imported.';
comment on column warehouse.stock_levels.updated_at is 'When an import changed it; null while it is as first imported.';

create table warehouse.import_progress (
    job_id uuid not null,
    token bigint not null,
    tenant_id text not null,
    kind text not null,
    source text not null,
    fingerprint text not null,
    checkpoint bigint not null default 0,
    lines bigint not null default 0,
    processed bigint not null default 0,
    created bigint not null default 0,
    updated bigint not null default 0,
    skipped bigint not null default 0,
    refused bigint not null default 0,
    problems jsonb not null default '[]',
    done boolean not null default false,
    started_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint import_progress_pkey primary key (job_id),
    constraint import_progress_tenant_id_check check (length(tenant_id) between 1 and 255),
    constraint import_progress_kind_check check (kind in ('products', 'stock_levels', 'stock_sync'))
);
comment on table warehouse.import_progress is 'How far an import is. Committed with the rows it tells of: the next attempt goes on behind them.';
comment on column warehouse.import_progress.job_id is 'The import''s job.';
comment on column warehouse.import_progress.token is 'The attempt that may go on; one with a lower token is refused.';
comment on column warehouse.import_progress.tenant_id is 'The job''s: whose rows these are.';
comment on column warehouse.import_progress.kind is 'products, stock_levels (files) or stock_sync (pages of an API).';
comment on column warehouse.import_progress.source is 'The path or the address, for people.';
comment on column warehouse.import_progress.fingerprint is 'What the source was: another attempt must find the same.';
comment on column warehouse.import_progress.checkpoint is 'Everything before this byte of the file, or up to this page of the API, is stored.';
comment on column warehouse.import_progress.lines is 'Lines of the file before the checkpoint.';
comment on column warehouse.import_progress.processed is 'Rows read: created, updated, skipped and refused ones.';
comment on column warehouse.import_progress.created is 'New rows.';
comment on column warehouse.import_progress.updated is 'Rows that were there and differed.';
comment on column warehouse.import_progress.skipped is 'Rows that were there as they are, and all but the last of those with one key.';
comment on column warehouse.import_progress.refused is 'Rows that were not taken.';
comment on column warehouse.import_progress.problems is 'The first refused rows: row, field, code, message.';
comment on column warehouse.import_progress.done is 'All is stored.';
comment on column warehouse.import_progress.started_at is 'When the first attempt began.';
comment on column warehouse.import_progress.updated_at is 'When the checkpoint moved last.';

alter table warehouse.products enable row level security;
create policy products_tenant on warehouse.products
    using ((select pgqueue.current_tenant()) is null or tenant_id = (select pgqueue.current_tenant()));
alter table warehouse.stock_levels enable row level security;
create policy stock_levels_tenant on warehouse.stock_levels
    using ((select pgqueue.current_tenant()) is null or tenant_id = (select pgqueue.current_tenant()));
alter table warehouse.import_progress enable row level security;
create policy import_progress_tenant on warehouse.import_progress
    using ((select pgqueue.current_tenant()) is null or tenant_id = (select pgqueue.current_tenant()));
