-- What workers may do here. The role is optional: without it, the schema's owner runs them.
do $$
begin
    if to_regrole('pgqueue_worker') is not null then
        grant usage on schema engine to pgqueue_worker;
        grant select on engine.assets to pgqueue_worker;
        grant select, insert on engine.orders, engine.order_lines to pgqueue_worker;
        grant select, insert, update on engine.valuations to pgqueue_worker;
        grant execute on all functions in schema engine to pgqueue_worker;
    end if;
end
$$;
