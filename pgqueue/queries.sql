-- What the library asks a server that may not have the schema pgqueue yet, or not ours. Everything else is a function
-- or a view of that schema. Each query is named by the line above it and loaded by pgqueue/sqlfiles.py.

-- name: server_state
select pg_catalog.pg_is_in_recovery(),
    pg_catalog.current_setting('transaction_read_only')::boolean,
    pg_catalog.current_setting('server_version_num')::integer,
    pg_catalog.to_regnamespace('pgqueue') is not null,
    coalesce(pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('pgqueue'), 'usage'), false),
    current_user::text;

-- name: has_migrations
select pg_catalog.to_regclass('pgqueue.migrations') is not null;

-- name: migrations
select m.version from pgqueue.migrations m order by m.version;

-- name: has_objects
select pg_catalog.to_regclass('pgqueue.installed_objects') is not null;

-- name: objects
select i.kind, i.name, i.fingerprint from pgqueue.installed_objects i;

-- name: migrate_lock
select pg_catalog.set_config('lock_timeout', '60s', true);
select pg_catalog.pg_advisory_xact_lock(7067005, 1);
select pg_catalog.set_config('lock_timeout', '3s', true);

-- name: script_begin
begin;

-- name: script_end
commit;

-- name: script_settings
set local statement_timeout = 0;
set local lock_timeout = '60s';
do $$ begin perform pg_advisory_xact_lock(7067005, 1); end $$;
set local lock_timeout = '10s';
set local client_min_messages = warning;

-- name: script_guard
do $$
declare
    v_found integer := 0;
begin
    if to_regclass('pgqueue.migrations') is not null then
        select coalesce(max(m.version), 0) into v_found from pgqueue.migrations m;
    end if;
    if v_found <> 0000 then
        raise exception 'this script upgrades pgqueue from version 0000, and found version %', v_found
            using hint = 'Make it again: pgqueue migrate --sql';
    end if;
end
$$;

-- name: script_reset
reset role;

-- name: doctor
select c.name as "check", c.status, c.value, c.hint
from (
    select 1, 'roles', case when count(r.rolname) = 4 then 'ok' else 'info' end,
        case when count(r.rolname) = 4 then 'all four'
            else concat('missing: ', string_agg(w.name, ', ' order by w.name) filter (where r.rolname is null)) end,
        'Only the owner and superusers can use the schema without them. A role with CREATEROLE runs pgqueue migrate, or creates them first'
    from unnest(array['pgqueue_producer', 'pgqueue_worker', 'pgqueue_viewer', 'pgqueue_operator']) as w (name)
    left join pg_catalog.pg_roles r on r.rolname = w.name
    union all
    select 2, 'owner of the schema', case when r.rolsuper then 'warn' else 'ok' end,
        concat(r.rolname, case when r.rolsuper then ', a superuser' end),
        'Its functions run with a superuser''s rights. Install as a superuser into an empty database (the owner becomes pgqueue_owner), or as the database''s owner'
    from pg_catalog.pg_namespace n
    join pg_catalog.pg_roles r on r.oid = n.nspowner
    where n.nspname = 'pgqueue'
    union all
    select 3, 'everybody may create objects', case when count(*) = 0 then 'ok' else 'warn' end,
        coalesce(string_agg(format('in the schema %I', n.nspname), ', '), 'in no schema'),
        'A planted function can be called in place of yours (pgqueue''s own are safe). revoke create on schema public from public'
    from pg_catalog.pg_namespace n
    where n.nspname in ('public', 'pgqueue') and pg_catalog.has_schema_privilege('public', n.oid, 'create')
    union all
    select 4, 'connections in use', case when s.used > 0.95 * s.allowed then 'fail' when s.used > 0.8 * s.allowed then 'warn' else 'ok' end,
        format('%s of %s', s.used, s.allowed),
        'Workers that reconnect will find no place. Raise max_connections, or put a pooler before the producers'
    from (
        -- Everybody may read this; pg_stat_activity hides the sessions of others.
        select sum(d.numbackends) as used, current_setting('max_connections')::integer
            - current_setting('superuser_reserved_connections')::integer as allowed
        from pg_catalog.pg_stat_database d
    ) s
    union all
    select 5, 'server setting ' || s.name, case when s.setting <> s.bad then 'ok' else s.otherwise end, s.setting, s.hint
    from (
        values
            ('idle_in_transaction_session_timeout', current_setting('idle_in_transaction_session_timeout'), '0', 'info',
                'A client that forgets a transaction keeps dead rows alive and the doorbell open. pgqueue sets it for its own sessions; set it for all, for example to 5min'),
            ('default_transaction_isolation', case current_setting('default_transaction_isolation') when 'read committed' then 'read committed' else 'other' end,
                'other', 'info', 'pgqueue uses read committed for its own sessions; inserts of producers can fail with 40001 and must be repeated')
    ) as s (name, setting, bad, otherwise, hint)
    union all
    select 6, 'encoding', case when current_setting('server_encoding') = 'UTF8' then 'ok' else 'warn' end, current_setting('server_encoding'),
        'Payloads with characters beyond this encoding are refused. Create the database with encoding UTF8'
) as c (number, name, status, value, hint)
order by c.number, c.name;

-- name: listen
listen pgqueue_doctor;

-- name: unlisten
unlisten pgqueue_doctor;

-- name: notify
select pg_catalog.pg_notify('pgqueue_doctor', %s);

-- name: backend
select pg_catalog.pg_backend_pid(), pg_catalog.clock_timestamp(), pg_catalog.current_setting('server_version');

-- name: table_path
select pg_catalog.set_config('search_path', '', true);

-- name: table_named
select c.oid, c.relname, n.nspname, c.relkind::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = pg_catalog.to_regclass(%s);

-- name: table_columns
select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
    case when a.attcollation <> t.typcollation then
        (select pg_catalog.format('%%I.%%I', cn.nspname, co.collname)
         from pg_catalog.pg_collation co join pg_catalog.pg_namespace cn on cn.oid = co.collnamespace
         where co.oid = a.attcollation) end,
    a.attgenerated <> '' or a.attidentity = 'a',
    a.attidentity <> '' or coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ '\(|CURRENT_|LOCALTIME', false),
    -- Whether = compares what is stored. Of base types only those of pg_catalog are found with the function's search_path.
    case
        when e.typtype <> 'b' then true
        else e.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
            and e.typname not in ('json', 'xml', 'point', 'line', 'lseg', 'box', 'path', 'polygon', 'circle')
    end
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
join pg_catalog.pg_type e on e.oid = case when b.typcategory = 'A' then b.typelem else b.oid end
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum;

-- name: table_keys
select (select pg_catalog.array_agg(a.attname::text order by a.attname)
        from pg_catalog.pg_attribute a
        where a.attrelid = i.indrelid and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
from pg_catalog.pg_index i
where i.indrelid = %s and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null;

-- name: app_migrations
select m.version, m.name from pgqueue.app_migrations m where m.app = %s order by m.version;

-- name: app_opened
select pgqueue.app_opened(%s);

-- name: app_migrated
select pgqueue.app_migrated(%s, %s, %s);

-- name: app_script_opened
do $$ begin perform pgqueue.app_opened('NAME', 0000); end $$;

-- name: app_script_migrated
do $$ begin perform pgqueue.app_migrated('NAME', 0000, 'FILE'); end $$;
