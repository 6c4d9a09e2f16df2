-- Orders and valuations of a .NET application: it reads these tables, the jobs write them.

comment on schema engine is 'Orders and valuations of a .NET application: an example application of pgqueue.';

create table engine.assets (
    symbol text not null,
    name text not null,
    quantity numeric(20, 8) not null default 0,
    constraint assets_pkey primary key (symbol),
    constraint assets_symbol_check check (symbol ~ '^[A-Z0-9.-]{1,20}$'),
    constraint assets_quantity_check check (quantity >= 0)
);
comment on table engine.assets is 'What is traded, and how much of it is held. Kept by the application.';
comment on column engine.assets.symbol is 'Capital letters, digits, dots and hyphens.';
comment on column engine.assets.name is 'For people.';
comment on column engine.assets.quantity is 'How much of it is held.';

create table engine.valuations (
    symbol text not null,
    valued_on date not null,
    currency text not null,
    quantity numeric(20, 8) not null,
    unit_price numeric(20, 8) not null,
    value numeric(28, 2) not null,
    job_id uuid not null,
    updated_at timestamptz,
    constraint valuations_pkey primary key (symbol, valued_on, currency),
    constraint valuations_asset_fkey foreign key (symbol) references engine.assets (symbol),
    constraint valuations_currency_check check (currency ~ '^[A-Z]{3}$'),
    constraint valuations_unit_price_check check (unit_price >= 0)
);
comment on table engine.valuations is 'What an asset was worth on a day, per currency.';
comment on column engine.valuations.symbol is 'The asset.';
comment on column engine.valuations.valued_on is 'The day.';
comment on column engine.valuations.currency is 'Of price and value; three letters.';
comment on column engine.valuations.quantity is 'How much of it was held.';
comment on column engine.valuations.unit_price is 'What the pricing API said.';
comment on column engine.valuations.value is 'quantity * unit_price, rounded to cents.';
comment on column engine.valuations.job_id is 'The job that wrote it last.';
comment on column engine.valuations.updated_at is 'When a later job found another price or quantity; null while it is as first written.';

create table engine.orders (
    order_id bigint generated always as identity,
    reference text not null,
    customer_id uuid not null,
    currency text not null,
    total numeric(28, 2) not null,
    job_id uuid not null,
    created_at timestamptz not null default now(),
    constraint orders_pkey primary key (order_id),
    constraint orders_reference_key unique (reference),
    constraint orders_reference_check check (length(reference) between 1 and 50),
    constraint orders_currency_check check (currency ~ '^[A-Z]{3}$'),
    constraint orders_total_check check (total >= 0)
);
comment on table engine.orders is 'Orders as they were priced.';
comment on column engine.orders.order_id is 'The entity that job_results names.';
comment on column engine.orders.reference is 'The application''s name for it: an order is created once, however often it is asked for.';
comment on column engine.orders.customer_id is 'Whose it is.';
comment on column engine.orders.currency is 'Of its prices; three letters.';
comment on column engine.orders.total is 'The sum of its lines'' amounts.';
comment on column engine.orders.job_id is 'The job that created it.';
comment on column engine.orders.created_at is 'When that was.';

create table engine.order_lines (
    order_id bigint not null,
    line integer not null,
    symbol text not null,
    quantity numeric(20, 8) not null,
    unit_price numeric(20, 8) not null,
    amount numeric(28, 2) not null,
    constraint order_lines_pkey primary key (order_id, line),
    constraint order_lines_order_fkey foreign key (order_id) references engine.orders (order_id),
    constraint order_lines_asset_fkey foreign key (symbol) references engine.assets (symbol),
    constraint order_lines_quantity_check check (quantity > 0)
);
comment on table engine.order_lines is 'The lines of an order, with the price that the pricing API named.';
comment on column engine.order_lines.order_id is 'The order.';
comment on column engine.order_lines.line is 'From 1, in the order of the payload.';
comment on column engine.order_lines.symbol is 'The asset.';
comment on column engine.order_lines.quantity is 'How much of it.';
comment on column engine.order_lines.unit_price is 'What the pricing API said.';
comment on column engine.order_lines.amount is 'quantity * unit_price, rounded to cents.';
create index order_lines_symbol_idx on engine.order_lines (symbol);
