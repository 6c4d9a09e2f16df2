-- What export_report writes.

-- The stock of one tenant, article by article; a product without stock has a row too.
create or replace function warehouse.stock_report(p_tenant_id text)
returns table (sku text, name text, unit text, location text, quantity integer, price numeric, value numeric)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select p.sku, p.name, p.unit, s.location, coalesce(s.quantity, 0), p.price, coalesce(s.quantity, 0) * p.price
    from warehouse.products p
    left join warehouse.stock_levels s on s.tenant_id = p.tenant_id and s.sku = p.sku
    where p.tenant_id = p_tenant_id
    order by p.sku, s.location;
$$;
revoke all on function warehouse.stock_report(text) from public;
