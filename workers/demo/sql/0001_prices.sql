-- The demo's own table: what prices.py writes to. `pgqueue migrate --app` has made the schema.

comment on schema demo is 'Prices, for the demo of pgqueue.';

create table demo.prices (
    sku text primary key,
    name text not null,
    price numeric(12, 2) not null,
    currency text not null,
    valid_from date not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz,
    constraint prices_price_check check (price >= 0),
    constraint prices_currency_check check (currency ~ '^[A-Z]{3}$')
);
comment on table demo.prices is 'One price per article, as last imported.';
comment on column demo.prices.sku is 'The article.';
comment on column demo.prices.name is 'What it is called.';
comment on column demo.prices.price is 'What it costs.';
comment on column demo.prices.currency is 'In what; three letters.';
comment on column demo.prices.valid_from is 'From this day on.';
comment on column demo.prices.created_at is 'When it was first imported.';
comment on column demo.prices.updated_at is 'When an import changed it; null while it is as first imported.';
