-- What workers may do here. The role is optional: without it, the schema's owner runs them.
do $$
begin
    if to_regrole('pgqueue_worker') is not null then
        grant usage on schema tasks to pgqueue_worker;
        grant select on tasks.allowed_functions to pgqueue_worker;
        grant execute on function tasks.run(text, jsonb) to pgqueue_worker;
    end if;
end
$$;
