-- The demo's own tables: what workers/demo/prices.py writes to. Repeating it is harmless.
--
-- An application keeps its SQL beside its handlers, in a schema of its own.

create schema if not exists demo;
comment on schema demo is 'Prices, for the demo of pgqueue.';

create table if not exists demo.prices (
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
comment on column demo.prices.updated_at is 'When an import changed it; null while it is as first imported.';

-- Store a batch of prices, a JSON array of objects with the columns' names. A price that is the same already is not
-- written: it costs no dead row, no WAL, and the count says so. Locks rows in the order of sku.
-- Proved by tests/integration/test_demo.py.
create or replace function demo.upsert_prices(p_rows jsonb)
returns table (created bigint, updated bigint, skipped bigint)
language sql
set search_path = pg_catalog, pg_temp
as $$
    with given as materialized (
        select g.sku, g.name, g.price, g.currency, g.valid_from
        from jsonb_to_recordset(p_rows) as g (sku text, name text, price numeric(12, 2), currency text, valid_from date)
    ), stored as (
        insert into demo.prices as p (sku, name, price, currency, valid_from)
        select g.sku, g.name, g.price, g.currency, g.valid_from
        from given g
        order by g.sku
        on conflict (sku) do update set
            name = excluded.name,
            price = excluded.price,
            currency = excluded.currency,
            valid_from = excluded.valid_from,
            updated_at = now()
        where (p.name, p.price, p.currency, p.valid_from)
            is distinct from (excluded.name, excluded.price, excluded.currency, excluded.valid_from)
        returning p.updated_at
    )
    select count(*) filter (where s.updated_at is null),
        count(*) filter (where s.updated_at is not null),
        (select count(*) from given) - count(*)
    from stored s;
$$;
