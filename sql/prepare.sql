-- Checks before anything is created, and the schema. Runs in the installer's transaction.
--
-- Installed by a superuser, everything belongs to a role of its own (pgqueue_owner, NOLOGIN): a SECURITY DEFINER function
-- of a superuser would be one mistake away from the whole cluster. Installed by anybody else, it belongs to him.
do $$
declare
    v_owner name;
begin
    if current_setting('server_version_num')::integer < 150000 then
        raise exception 'pgqueue needs PostgreSQL 15 or later; this is %', current_setting('server_version');
    end if;
    if pg_is_in_recovery() then
        raise exception 'this server is a standby; install on the primary' using errcode = '25006';
    end if;
    if (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user) then
        begin
            if not exists (select from pg_catalog.pg_roles r where r.rolname = 'pgqueue_owner') then
                create role pgqueue_owner nologin;
            end if;
        exception
            -- Another database of the cluster installs at the same time.
            when duplicate_object or unique_violation then
                null;
        end;
    end if;
    select pg_catalog.pg_get_userbyid(n.nspowner) into v_owner from pg_catalog.pg_namespace n where n.nspname = 'pgqueue';
    if v_owner is null then
        if (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user) then
            create schema pgqueue authorization pgqueue_owner;
            v_owner := 'pgqueue_owner';
        else
            create schema pgqueue;
            v_owner := current_user;
        end if;
    elsif to_regclass('pgqueue.migrations') is null then
        raise exception 'a schema named pgqueue exists, owned by %, and is not ours', v_owner
            using hint = 'Drop or rename it; pgqueue never installs into a schema that it did not create.';
    end if;
    if not pg_catalog.pg_has_role(current_user, v_owner, 'member') then
        raise exception 'the schema pgqueue belongs to %, and % is not a member of that role', v_owner, current_user
            using errcode = '42501';
    end if;
    execute format('set local role %I', v_owner);
end
$$;
