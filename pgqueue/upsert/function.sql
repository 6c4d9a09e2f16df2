-- Store a JSON array of rows in @table@: those that are new are created, those that differ updated, all others skipped.
-- Key: @shown_key@. Updated: @shown_update@. A row has exactly these members: @shown_members@.
-- Locks rows in the order of the key: concurrent calls do not deadlock. @duplicates@
-- Raises 22023 for what is no array of such rows, 22004 for NULL in the key. Written by `pgqueue upsert`; write it
-- anew when the table changes.
create or replace function @function@(p_rows jsonb)
returns table (created bigint, updated bigint, skipped bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as @tag@
#variable_conflict use_column
declare
    v_members constant text[] := array[@members@];
    v_row bigint;
    v_rows bigint[];
    v_what text;
begin
    if jsonb_typeof($1) is distinct from 'array' then
        raise exception using errcode = '22023', message = format('@name@: p_rows is not a JSON array');
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
        raise exception using errcode = '22023', message = format('@name@: row %s %s', v_row, v_what);
    end if;
    select e.n into v_row
    from jsonb_array_elements($1) with ordinality as e (item, n)
    where jsonb 'null' in (@key_items@)
    order by e.n
    limit 1;
    if found then
        raise exception using errcode = '22004', message = format('@name@: row %s has NULL in its key', v_row),
            hint = 'The key names the row: give every part of it a value.';
    end if;
@refuse@
    return query
        with given as materialized (
            select @distinct@@columns_g@
            from jsonb_array_elements($1) with ordinality as e (item, n)
            cross join lateral jsonb_to_record(e.item) as g (@definitions@)@last@
        ), stored as (
            insert into @table@ as t (@columns@)
            select @columns_g@
            from given g
            order by @keys_g@
            on conflict (@keys@) @action@
            -- The version that an update leaves carries the lock that ON CONFLICT took; a new row has none.
            returning t.xmax = 0 as is_new
        )
        select count(*) filter (where s.is_new), count(*) filter (where not s.is_new), jsonb_array_length($1) - count(*)
        from stored s;
end
@tag@;
revoke all on function @function@(jsonb) from public;
