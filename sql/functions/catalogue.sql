-- What the schema looks like, and what differs from the last install.

-- The number of the last migration. The library refuses a schema of another version.
create or replace function pgqueue.schema_version()
returns integer
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select max(m.version) from pgqueue.migrations m;
$$;
revoke all on function pgqueue.schema_version() from public;

-- Every object of the schema with a fingerprint of its definition. Order of columns does not count: a migrated table has
-- new columns last, a fresh one may not. Nor do aliases inside a view: pg_dump and restore write out those left implicit.
create or replace function pgqueue.catalogue()
returns table (kind text, name text, fingerprint text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select 'function', p.oid::regprocedure::text,
        md5(pg_get_functiondef(p.oid) || coalesce((select string_agg(a::text, ',' order by a::text) from unnest(p.proacl) a), ''))
    from pg_proc p where p.pronamespace = 'pgqueue'::regnamespace
    union all
    select case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, c.relname,
        md5(coalesce((
                select string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                    pg_get_expr(d.adbin, d.adrelid)), ', ' order by a.attname)
                from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '')
            || coalesce(case when c.relkind = 'v' then regexp_replace(pg_get_viewdef(c.oid), ' AS ("[^"]+"|\w+)', '', 'g') end, '')
            || coalesce((select string_agg(o, ',' order by o) from unnest(c.reloptions) o), '')
            || case c.relpersistence when 'p' then '' else c.relpersistence::text end)
    from pg_class c where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v', 'S', 'p')
    union all
    select 'index', i.indexrelid::regclass::text, md5(pg_get_indexdef(i.indexrelid))
    from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace = 'pgqueue'::regnamespace
    union all
    select 'constraint', c.conrelid::regclass || '.' || c.conname, md5(pg_get_constraintdef(c.oid))
    from pg_constraint c where c.connamespace = 'pgqueue'::regnamespace and c.conrelid <> 0 and c.contype <> 'n'
    union all
    select 'trigger', t.tgrelid::regclass || '.' || t.tgname, md5(pg_get_triggerdef(t.oid) || t.tgenabled::text)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = 'pgqueue'::regnamespace and not t.tgisinternal;
$$;
revoke all on function pgqueue.catalogue() from public;

-- What differs from the last install. No rows = nothing.
create or replace function pgqueue.drift()
returns table (kind text, name text, drift text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(c.kind, i.kind), coalesce(c.name, i.name),
        case when i.name is null then 'added' when c.name is null then 'missing' else 'changed' end
    from pgqueue.catalogue() c
    full join pgqueue.installed_objects i on i.kind = c.kind and i.name = c.name
    where i.fingerprint is distinct from c.fingerprint
    order by 1, 2;
$$;
revoke all on function pgqueue.drift() from public;
