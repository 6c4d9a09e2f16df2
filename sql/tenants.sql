-- Tenants: logins that see and touch only their own tenant's jobs. Off until enable_tenants(); until then it costs nothing.
--
-- A login is confined by a row of pgqueue.tenants (confine()). What it is confined to comes from the role alone,
-- never from a setting, which anybody can set. A login without a row sees all tenants: operators and workers are such.
-- Row-level security is enabled, not forced: it does not hold for the schema's owner, as whom our functions run. Those that
-- a confined login can call ask check_job() or check_enqueue() instead. Keys are unique per tenant, so that one tenant's key tells nothing
-- about another's; only a job id that a client supplies itself is unique over all tenants. PostgreSQL refuses COPY FROM by a
-- confined login (0A000): it inserts rows.
-- Proved by tests/security/test_tenants.py.

-- Confine a login to a tenant: from now on it sees and inserts this tenant's jobs only. Refused for roles that may
-- call worker or operator functions: those act on all tenants. For the schema's owner only.
create or replace function pgqueue.confine(p_role name, p_tenant_id text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_wide text;
begin
    if not exists (select from pg_roles r where r.rolname = p_role) then
        raise exception using errcode = '42704', message = format('role %L does not exist', p_role);
    end if;
    select r.rolname into v_wide from pg_roles r
    where r.rolname in ('pgqueue_worker', 'pgqueue_operator') and pg_has_role(p_role, r.oid, 'member')
    order by r.rolname limit 1;
    if found then
        raise exception using errcode = 'PQ006', message = format('role %I is a member of %I, which acts on all tenants', p_role, v_wide),
            hint = format('revoke %I from %I; grant pgqueue_producer, and single functions such as pgqueue.retry, instead.', v_wide, p_role);
    end if;
    if not (select c.relrowsecurity from pg_class c where c.oid = 'pgqueue.jobs'::regclass) then
        raise exception using errcode = 'PQ006', message = 'tenants are not enabled in this database',
            hint = 'select pgqueue.enable_tenants();';
    end if;
    insert into pgqueue.tenants as t (role_name, tenant_id) values (p_role, p_tenant_id)
    on conflict (role_name) do update set tenant_id = excluded.tenant_id;
end
$$;
revoke all on function pgqueue.confine(name, text) from public;

-- Undo confine(): the login sees all tenants again. For the schema's owner only.
create or replace function pgqueue.unconfine(p_role name)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    delete from pgqueue.tenants t where t.role_name = p_role;
$$;
revoke all on function pgqueue.unconfine(name) from public;

-- Turn row-level security on. Locks each table for a moment; repeating it is harmless. For the schema's owner only.
-- (select ...) makes the tenant a value computed once per query instead of once per row.
create or replace function pgqueue.enable_tenants()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_table text;
begin
    foreach v_table in array array['jobs', 'schedules', 'schedule_runs', 'ready', 'scheduled', 'blocked', 'running', 'finished',
        'attempts', 'dependencies', 'slots', 'ordered_jobs', 'limits', 'openings', 'gate_buckets', 'hook_calls', 'maintenance_failures', 'job_results', 'completions', 'stats', 'stats_log',
        'tenants', 'callback_secrets', 'tenant_settings', 'tenant_jobs', 'tenant_counts', 'lane_marks', 'batches', 'batch_log', 'signals', 'signal_secret']
    loop
        execute format('alter table pgqueue.%I enable row level security', v_table);
        execute format('drop policy if exists %I on pgqueue.%I', v_table || '_tenant', v_table);
        if v_table in ('jobs', 'schedules', 'tenant_settings', 'tenant_jobs', 'tenant_counts', 'batches') then
            execute format('create policy %I on pgqueue.%I using ((select pgqueue.current_tenant()) is null'
                ' or tenant_id = (select pgqueue.current_tenant()))', v_table || '_tenant', v_table);
        elsif v_table = 'schedule_runs' then
            execute format('create policy %I on pgqueue.%I using ((select pgqueue.current_tenant()) is null'
                ' or (select true from pgqueue.schedules s where s.name = schedule_runs.schedule))', v_table || '_tenant', v_table);
        elsif v_table = 'batch_log' then
            execute format('create policy %I on pgqueue.%I using ((select pgqueue.current_tenant()) is null'
                ' or (select true from pgqueue.batches b where b.id = batch_log.batch_id))', v_table || '_tenant', v_table);
        elsif v_table in ('stats', 'stats_log', 'tenants', 'callback_secrets', 'lane_marks', 'limits', 'openings', 'gate_buckets', 'signal_secret') then
            -- Numbers over all tenants, and who is confined to what, are not for a confined login.
            execute format('create policy %I on pgqueue.%I using ((select pgqueue.current_tenant()) is null)',
                v_table || '_tenant', v_table);
        else
            -- The subquery reads jobs as the caller: its own policy applies there. Not EXISTS, which the planner may turn into
            -- a hash of all jobs of the tenant.
            execute format('create policy %I on pgqueue.%I using ((select pgqueue.current_tenant()) is null'
                ' or (select true from pgqueue.jobs j where j.id = %I.job_id))', v_table || '_tenant', v_table, v_table);
        end if;
    end loop;
    alter table pgqueue.jobs alter column tenant_id set default pgqueue.current_tenant();
    update pgqueue.installed_objects i set fingerprint = c.fingerprint
    from pgqueue.catalogue() c
    where i.kind = c.kind and i.name = c.name and c.kind = 'table' and c.name = 'jobs';
end
$$;
revoke all on function pgqueue.enable_tenants() from public;

-- Turn row-level security off again. Refused while a login is confined: it would see everything. For the owner only.
create or replace function pgqueue.disable_tenants()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_table name;
begin
    if exists (select from pgqueue.tenants) then
        raise exception using errcode = 'PQ006', message = 'roles are confined to tenants; they would see everything',
            hint = 'select pgqueue.unconfine(role_name) from pgqueue.tenants;';
    end if;
    for v_table in select c.relname from pg_class c where c.relnamespace = 'pgqueue'::regnamespace and c.relrowsecurity loop
        execute format('drop policy if exists %I on pgqueue.%I', v_table || '_tenant', v_table);
        execute format('alter table pgqueue.%I disable row level security', v_table);
    end loop;
    alter table pgqueue.jobs alter column tenant_id drop default;
    update pgqueue.installed_objects i set fingerprint = c.fingerprint
    from pgqueue.catalogue() c
    where i.kind = c.kind and i.name = c.name and c.kind = 'table' and c.name = 'jobs';
end
$$;
revoke all on function pgqueue.disable_tenants() from public;

-- An upgrade may bring new policies, and has made the quotas' triggers anew: enabled.
do $$
begin
    perform pgqueue.fit_quotas();
    if (select c.relrowsecurity from pg_catalog.pg_class c where c.oid = 'pgqueue.jobs'::regclass) then
        perform pgqueue.enable_tenants();
    end if;
end
$$;
