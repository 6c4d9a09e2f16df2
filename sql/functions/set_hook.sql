-- Setting hooks. What a hook is, when it is called and what it must not do, is told in hooks.sql.

-- Raises PQ006 unless this function may be called as a hook.
create or replace function pgqueue.check_hook(p_schema name, p_name name)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_function record;
begin
    select p.proowner = (select o.nspowner from pg_namespace o where o.nspname = 'pgqueue') as owned,
        p.prosqlbody is not null or coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false) as pinned
    into v_function
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = p_schema and p.proname = p_name and p.prokind = 'f' and not p.proretset
        and p.proargtypes[0] = 'text'::regtype and p.proargtypes[1] = 'uuid[]'::regtype and p.pronargs = 2
        and p.prorettype = 'uuid[]'::regtype;
    if v_function is null then
        raise exception using errcode = 'PQ006', message = format('there is no function %I.%I(text, uuid[]) that returns uuid[]', p_schema, p_name),
            hint = 'A hook takes the event and the ids of the jobs, and returns the ids of those to hold back.';
    elsif not v_function.owned then
        raise exception using errcode = 'PQ006', message = format('hook %I.%I does not belong to the owner of the schema pgqueue', p_schema, p_name),
            hint = 'It would run with his rights: alter function ... owner to the owner of the schema.';
    elsif not v_function.pinned then
        raise exception using errcode = 'PQ006', message = format('hook %I.%I has no pinned search_path', p_schema, p_name),
            hint = 'alter function ... set search_path = pg_catalog, pg_temp, and qualify every name in it.';
    end if;
end
$$;
revoke all on function pgqueue.check_hook(name, name) from public;

-- For the schema's owner only. p_function is schema.name; p_events NULL = all.
create or replace function pgqueue.set_hook(p_job_type text, p_function text, p_events text[] default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text[] := parse_ident(p_function);
    v_broken text;
    v_example constant text := 'For example: select pgqueue.set_hook(''send_invoice'', ''shop.on_jobs'').';
begin
    perform pgqueue.check_given('job_type', p_job_type, v_example);
    perform pgqueue.check_given('function', p_function, v_example);
    if cardinality(v_name) <> 2 then
        raise exception using errcode = 'PQ006', message = format('%L is not schema.function', p_function),
            hint = v_example;
    end if;
    perform pgqueue.check_hook(v_name[1]::name, v_name[2]::name);
    perform pgqueue.note_unknown('job_type', p_job_type);
    begin
        insert into pgqueue.hooks as h (job_type, function_schema, function_name, events)
        values (p_job_type, v_name[1], v_name[2], coalesce(p_events, '{insert,finish,retry,maintain}'))
        on conflict (job_type, function_schema, function_name) do update set events = excluded.events;
    exception when check_violation then
        get stacked diagnostics v_broken = constraint_name;
        perform pgqueue.refuse_check('pgqueue', 'hooks', v_broken, jsonb_build_object('job_type', p_job_type, 'events', p_events),
            'For example: select pgqueue.set_hook(''send_invoice'', ''shop.on_jobs'', ''{insert,finish}''); without events all.');
    end;
    insert into pgqueue.job_types as t (job_type, detour) values (p_job_type, 128)
    on conflict (job_type) do update set detour = t.detour | 128;
end
$$;
revoke all on function pgqueue.set_hook(text, text, text[]) from public;

-- For the schema's owner only. Jobs that are on their way finish without it, and calls of it that failed are not repeated: settle_hooks()
-- forgets them. False = there was none.
create or replace function pgqueue.drop_hook(p_job_type text, p_function text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text[] := parse_ident(p_function);
    v_found boolean;
begin
    delete from pgqueue.hooks h where h.job_type = p_job_type and h.function_schema = v_name[1] and h.function_name = v_name[2];
    v_found := found;
    update pgqueue.job_types t set detour = t.detour & ~128
    where t.job_type = p_job_type and not exists (select from pgqueue.hooks h where h.job_type = p_job_type);
    return v_found;
end
$$;
revoke all on function pgqueue.drop_hook(text, text) from public;
