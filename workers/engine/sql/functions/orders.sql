-- What create_orders calls.

-- Those of p_symbols that are assets.
create or replace function engine.known_symbols(p_symbols text[])
returns table (symbol text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select a.symbol from engine.assets a where a.symbol = any (p_symbols);
$$;
revoke all on function engine.known_symbols(text[]) from public;

-- Create the orders that are not there yet, with their lines; one row per order given: its id, and whether it is new.
-- same = false: the reference belongs to an order of another customer or currency, which stays as it is.
-- p_orders: reference, customer_id, currency and lines (symbol, quantity, unit_price) each. Locks references in their order: two
-- jobs with the same orders wait for each other, and never deadlock.
create or replace function engine.store_orders(p_job_id uuid, p_orders jsonb)
returns table (reference text, order_id bigint, is_new boolean, same boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_new bigint[];
begin
    with given as materialized (
        select o.reference, o.customer_id, o.currency, o.lines
        from jsonb_to_recordset(p_orders) as o (reference text, customer_id uuid, currency text, lines jsonb)
    ), created as (
        insert into engine.orders (reference, customer_id, currency, total, job_id)
        select g.reference, g.customer_id, g.currency, (
            select sum(round(l.quantity * l.unit_price, 2))
            from jsonb_to_recordset(g.lines) as l (quantity numeric, unit_price numeric)
        ), p_job_id
        from given g
        order by g.reference
        on conflict (reference) do nothing
        returning order_id, reference
    ), lined as (
        insert into engine.order_lines (order_id, line, symbol, quantity, unit_price, amount)
        select c.order_id, e.line, l.symbol, l.quantity, l.unit_price, round(l.quantity * l.unit_price, 2)
        from created c
        join given g on g.reference = c.reference
        cross join lateral jsonb_array_elements(g.lines) with ordinality as e (item, line)
        cross join lateral jsonb_to_record(e.item) as l (symbol text, quantity numeric, unit_price numeric)
    )
    select array_agg(c.order_id) into v_new from created c;
    -- A statement of its own: it sees what another job committed while we waited for its references.
    return query
        select o.reference, o.order_id, o.order_id = any (coalesce(v_new, '{}')),
            o.customer_id = g.customer_id and o.currency = g.currency
        from jsonb_to_recordset(p_orders) as g (reference text, customer_id uuid, currency text)
        join engine.orders o on o.reference = g.reference
        order by o.order_id;
end
$$;
revoke all on function engine.store_orders(uuid, jsonb) from public;
