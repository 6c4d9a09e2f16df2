-- From the staging tables, which COPY fills, into the warehouse: one statement per chunk, new rows created, those that differ updated,
-- the same left alone. Of two rows with one key the later one counts. Rows are locked in the order of the key: imports that
-- run at once never deadlock.

-- Make the staging tables of this session unless it has them; they are emptied at each commit. They are the session's own:
-- nobody else's rows are in them, they leave no dead rows behind, and nothing of them is written to the WAL. Called in each
-- chunk's transaction: behind a transaction pooler the next one may have another session.
create or replace function warehouse.open_staging()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('pg_temp.import_products') is not null then
        return;
    end if;
    create temporary table import_products (line bigint, sku text, name text, price numeric(12, 2), unit text) on commit delete rows;
    create temporary table import_stock (line bigint, sku text, location text, quantity integer) on commit delete rows;
end
$$;
revoke all on function warehouse.open_staging() from public;

-- Store a chunk of products and move the checkpoint from p_from to p_to, where p_lines lines of the file have been read.
-- p_refused rows of the chunk were refused by the reader; p_problems are the first of them.
create or replace function warehouse.store_products(
    p_job_id uuid,
    p_token bigint,
    p_from bigint,
    p_to bigint,
    p_lines bigint,
    p_refused bigint,
    p_problems jsonb,
    p_done boolean
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := warehouse.hold_import(p_job_id, p_token, p_from);
    v_given bigint := (select count(*) from pg_temp.import_products);
    v_created bigint;
    v_updated bigint;
begin
    with given as materialized (
        select distinct on (s.sku) s.sku, s.name, s.price, s.unit
        from pg_temp.import_products s
        order by s.sku, s.line desc
    ), stored as (
        insert into warehouse.products as t (tenant_id, sku, name, price, unit)
        select v_tenant, g.sku, g.name, g.price, g.unit from given g order by g.sku
        on conflict (tenant_id, sku) do update set
            name = excluded.name,
            price = excluded.price,
            unit = excluded.unit,
            updated_at = now()
        where (t.name, t.price, t.unit) is distinct from (excluded.name, excluded.price, excluded.unit)
        -- The version that an update leaves carries the lock that ON CONFLICT took; a new row has none.
        returning t.xmax = 0 as is_new
    )
    select count(*) filter (where s.is_new), count(*) filter (where not s.is_new) into v_created, v_updated from stored s;
    perform warehouse.advance_import(p_job_id, p_to, p_lines, v_given + p_refused, v_created, v_updated, p_refused, p_problems, p_done);
end
$$;
revoke all on function warehouse.store_products(uuid, bigint, bigint, bigint, bigint, bigint, jsonb, boolean) from public;

-- The same for stock levels; a row of a product that the tenant does not have is refused with code unknown_product.
create or replace function warehouse.store_stock_levels(
    p_job_id uuid,
    p_token bigint,
    p_from bigint,
    p_to bigint,
    p_lines bigint,
    p_refused bigint,
    p_problems jsonb,
    p_done boolean
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := warehouse.hold_import(p_job_id, p_token, p_from);
    v_given bigint := (select count(*) from pg_temp.import_stock);
    v_unknown bigint[];
    v_created bigint;
    v_updated bigint;
begin
    -- A probe per row whatever the planner thinks of tables without statistics: a hash join would read all products per chunk.
    with unknown as (
        delete from pg_temp.import_stock s
        where (select true from warehouse.products p where p.tenant_id = v_tenant and p.sku = s.sku limit 1) is null
        returning s.line
    )
    select array_agg(u.line) into v_unknown from unknown u;
    with given as materialized (
        select distinct on (s.sku, s.location) s.sku, s.location, s.quantity
        from pg_temp.import_stock s
        order by s.sku, s.location, s.line desc
    ), stored as (
        insert into warehouse.stock_levels as t (tenant_id, sku, location, quantity)
        select v_tenant, g.sku, g.location, g.quantity from given g order by g.sku, g.location
        on conflict (tenant_id, sku, location) do update set
            quantity = excluded.quantity,
            updated_at = now()
        where t.quantity is distinct from excluded.quantity
        returning t.xmax = 0 as is_new
    )
    select count(*) filter (where s.is_new), count(*) filter (where not s.is_new) into v_created, v_updated from stored s;
    perform warehouse.advance_import(p_job_id, p_to, p_lines, v_given + p_refused, v_created, v_updated,
        p_refused + coalesce(cardinality(v_unknown), 0),
        p_problems || coalesce((
            select jsonb_agg(jsonb_build_object('row', u.line, 'field', 'sku', 'code', 'unknown_product',
                'message', 'this tenant has no product with this sku'))
            from (select line from unnest(v_unknown) as line order by line limit 100) u
        ), '[]'), p_done);
end
$$;
revoke all on function warehouse.store_stock_levels(uuid, bigint, bigint, bigint, bigint, bigint, jsonb, boolean) from public;
