-- Allow jobs of type sql_task to call a function: p_function is its name, schema first, without arguments. It takes one
-- jsonb, returns jsonb, and runs with the rights of the worker's login. For the owner of the schema only.
create or replace function tasks.allow(p_name text, p_function text, p_description text default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_function oid;
begin
    begin
        v_function := to_regprocedure(p_function || '(pg_catalog.jsonb)');
    exception when invalid_name or syntax_error then
        v_function := null;  -- Told below, in the same words as one that does not exist.
    end;
    insert into tasks.allowed_functions as a (name, function_schema, function_name, description)
    select p_name, n.nspname, p.proname, p_description
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    where p.oid = v_function and p.prokind = 'f' and not p.proretset and p.prorettype = 'jsonb'::regtype
    on conflict (name) do update set function_schema = excluded.function_schema, function_name = excluded.function_name,
        description = excluded.description, allowed_at = now(), allowed_by = session_user;
    if not found then
        raise exception using errcode = '42883', message = format('there is no function %s(jsonb) that returns jsonb', p_function),
            hint = 'Name one function with its schema: tasks.allow(''close_day'', ''shop.close_day'').';
    end if;
end
$$;
revoke all on function tasks.allow(text, text, text) from public;
comment on function tasks.allow(text, text, text) is 'Allow jobs of type sql_task to call a function.';

-- Call an allowed function, with the rights of the caller and the search_path pg_catalog. Raises TS001: it is not allowed.
create or replace function tasks.run(p_name text, p_arguments jsonb)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_function tasks.allowed_functions;
    v_result jsonb;
begin
    select * into v_function from tasks.allowed_functions a where a.name = p_name;
    if not found then
        raise exception using errcode = 'TS001', message = format('no function %L is allowed', p_name),
            hint = 'The owner allows one: select tasks.allow(name, function).';
    end if;
    -- The name comes from the catalogue and is quoted; what the job gave is a parameter.
    execute format('select %I.%I($1)', v_function.function_schema, v_function.function_name) into v_result using p_arguments;
    return v_result;
end
$$;
revoke all on function tasks.run(text, jsonb) from public;
comment on function tasks.run(text, jsonb) is 'Call an allowed function: what the handler of sql_task does.';
