-- Applications keep tables and functions of their own, each in a schema of its name; `pgqueue migrate --app` installs them in
-- one transaction: app_opened(), each new migration followed by app_migrated(), then what is replaced every time.

-- Begins such a transaction: one installer at a time, and whatever follows belongs to the owner of the schema pgqueue, never
-- to a superuser. Makes the application's schema at first. Returns its version, 0 = new; with p_since, only if it is that one.
-- Proved by tests/integration/test_migrate_app.py.
create or replace function pgqueue.app_opened(p_app text, p_since integer default null)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner name := (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'pgqueue');
    v_found integer;
begin
    if p_app !~ '^[a-z_][a-z0-9_]{0,62}$' or p_app ~ '^pg_' or p_app in ('pgqueue', 'public', 'information_schema') then
        raise exception using errcode = 'PQ006', message = format('%L cannot be the name of an application', p_app),
            hint = 'It names a schema: lower-case letters, digits and underscores.';
    end if;
    perform pg_advisory_xact_lock(7067005, 1);
    select coalesce(max(m.version), 0) into v_found from pgqueue.app_migrations m where m.app = p_app;
    if v_found <> p_since then
        raise exception using errcode = 'PQ006',
            message = format('this script upgrades %s from version %s, and found version %s', p_app, p_since, v_found),
            hint = format('Make it again: pgqueue migrate --app %s --sql', p_app);
    end if;
    if v_found = 0 then
        if to_regnamespace(quote_ident(p_app)) is not null then
            raise exception using errcode = 'PQ006', message = format('a schema named %s exists, and is no application''s', p_app),
                hint = 'Drop or rename it, or give the application another name.';
        end if;
        execute format('create schema %I authorization %I', p_app, v_owner);
    end if;
    execute format('set local role %I', v_owner);
    return v_found;
end
$$;
revoke all on function pgqueue.app_opened(text, integer) from public;

-- Records that a migration of the application ran.
create or replace function pgqueue.app_migrated(p_app text, p_version integer, p_name text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    insert into pgqueue.app_migrations (app, version, name) values (p_app, p_version, p_name);
$$;
revoke all on function pgqueue.app_migrated(text, integer, text) from public;
