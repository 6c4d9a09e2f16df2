-- What calculate_asset_values calls.

-- The symbols of all assets.
create or replace function engine.all_symbols()
returns table (symbol text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select a.symbol from engine.assets a order by a.symbol;
$$;
revoke all on function engine.all_symbols() from public;

-- Value assets at these prices; a valuation of that day and currency is changed if it says something else.
-- p_prices: symbol and price each. Locks valuations in the order of their symbols.
create or replace function engine.store_valuations(p_job_id uuid, p_valued_on date, p_currency text, p_prices jsonb)
returns table (created bigint, updated bigint, skipped bigint, value numeric)
language sql
set search_path = pg_catalog, pg_temp
as $$
    with given as materialized (
        select a.symbol, a.quantity, p.price as unit_price, round(a.quantity * p.price, 2) as value
        from jsonb_to_recordset(p_prices) as p (symbol text, price numeric(20, 8))
        join engine.assets a on a.symbol = p.symbol
    ), stored as (
        insert into engine.valuations as t (symbol, valued_on, currency, quantity, unit_price, value, job_id)
        select g.symbol, p_valued_on, p_currency, g.quantity, g.unit_price, g.value, p_job_id
        from given g
        order by g.symbol
        on conflict (symbol, valued_on, currency) do update set
            quantity = excluded.quantity,
            unit_price = excluded.unit_price,
            value = excluded.value,
            job_id = excluded.job_id,
            updated_at = now()
        where (t.quantity, t.unit_price) is distinct from (excluded.quantity, excluded.unit_price)
        -- The version that an update leaves carries the lock that ON CONFLICT took; a new row has none.
        returning t.xmax = 0 as is_new
    )
    select count(*) filter (where s.is_new), count(*) filter (where not s.is_new),
        (select count(*) from given) - count(*), (select coalesce(sum(g.value), 0) from given g)
    from stored s;
$$;
revoke all on function engine.store_valuations(uuid, date, text, jsonb) from public;
