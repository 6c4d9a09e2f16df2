-- Who may do what. The role exists where pgqueue was installed by somebody who may create roles.

do $$
begin
    if exists (select from pg_catalog.pg_roles r where r.rolname = 'pgqueue_worker') then
        grant usage on schema tasks to pgqueue_worker;
        grant select on tasks.allowed_functions to pgqueue_worker;
        grant execute on function tasks.run(text, jsonb) to pgqueue_worker;
    end if;
end
$$;
