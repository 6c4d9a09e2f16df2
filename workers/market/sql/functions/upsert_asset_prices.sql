-- Store a JSON array of rows in "market"."asset_prices": those that are new are created, those that differ updated, all others skipped.
-- Key: asset_id, timestamp, source. Updated: price, currency. A row has exactly these members: asset_id, timestamp, source, price, currency.
-- Locks rows in the order of the key: concurrent calls do not deadlock. Two rows with the same key: 21000.
-- Raises 22023 for what is no array of such rows, 22004 for NULL in the key. Written by `pgqueue upsert`; write it
-- anew when the table changes.
create or replace function "market"."upsert_asset_prices"(p_rows jsonb)
returns table (created bigint, updated bigint, skipped bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $upsert$
#variable_conflict use_column
declare
    v_members constant text[] := array['asset_id', 'timestamp', 'source', 'price', 'currency'];
    v_row bigint;
    v_rows bigint[];
    v_what text;
begin
    if jsonb_typeof($1) is distinct from 'array' then
        raise exception using errcode = '22023', message = format('upsert_asset_prices: p_rows is not a JSON array');
    end if;
    select e.n, case
            when jsonb_typeof(e.item) <> 'object' then 'is not an object'
            when not e.item ?& v_members then 'lacks the member ' || (
                select quote_ident(m.name) from unnest(v_members) as m (name) where not e.item ? m.name limit 1)
            else 'has an unknown member ' || (
                select quote_ident(m.name) from jsonb_object_keys(e.item) as m (name) where m.name <> all (v_members) limit 1)
        end
    into v_row, v_what
    from jsonb_array_elements($1) with ordinality as e (item, n)
    where case when jsonb_typeof(e.item) = 'object' then not e.item ?& v_members or e.item - v_members <> '{}' else true end
    order by e.n
    limit 1;
    if found then
        raise exception using errcode = '22023', message = format('upsert_asset_prices: row %s %s', v_row, v_what);
    end if;
    select e.n into v_row
    from jsonb_array_elements($1) with ordinality as e (item, n)
    where jsonb 'null' in (e.item -> 'asset_id', e.item -> 'timestamp', e.item -> 'source')
    order by e.n
    limit 1;
    if found then
        raise exception using errcode = '22004', message = format('upsert_asset_prices: row %s has NULL in its key', v_row),
            hint = 'The key names the row: give every part of it a value.';
    end if;
    select array_agg(e.n order by e.n) into v_rows
    from jsonb_array_elements($1) with ordinality as e (item, n)
    cross join lateral jsonb_to_record(e.item) as g ("asset_id" text, "timestamp" timestamptz, "source" text)
    group by g."asset_id", g."timestamp", g."source"
    having count(*) > 1
    order by min(e.n)
    limit 1;
    if found then
        raise exception using errcode = '21000', message = format('upsert_asset_prices: rows %s and %s have the same key', v_rows[1], v_rows[2]),
            hint = 'Send each key once, or write this function with --last-wins.';
    end if;
    return query
        with given as materialized (
            select g."asset_id", g."timestamp", g."source", g."price", g."currency"
            from jsonb_array_elements($1) with ordinality as e (item, n)
            cross join lateral jsonb_to_record(e.item) as g ("asset_id" text, "timestamp" timestamptz, "source" text, "price" decimal, "currency" text)
        ), stored as (
            insert into "market"."asset_prices" as t ("asset_id", "timestamp", "source", "price", "currency")
            select g."asset_id", g."timestamp", g."source", g."price", g."currency"
            from given g
            order by g."asset_id", g."timestamp", g."source"
            on conflict ("asset_id", "timestamp", "source") do update set
                "price" = excluded."price",
                "currency" = excluded."currency",
                "updated_at" = now()
            where t."price" is distinct from excluded."price"
                or t."currency" is distinct from excluded."currency"
            -- The version that an update leaves carries the lock that ON CONFLICT took; a new row has none.
            returning t.xmax = 0 as is_new
        )
        select count(*) filter (where s.is_new), count(*) filter (where not s.is_new), jsonb_array_length($1) - count(*)
        from stored s;
end
$upsert$;
revoke all on function "market"."upsert_asset_prices"(jsonb) from public;
