-- Who may do what. The roles are optional: without them, the schema's owner does everything.
do $$
begin
    if to_regrole('pgqueue_worker') is not null then
        grant usage on schema engine to pgqueue_worker;
        grant select on engine.assets to pgqueue_worker;
        grant select, insert on engine.orders, engine.order_lines to pgqueue_worker;
        grant select, insert, update on engine.valuations to pgqueue_worker;
        grant execute on all functions in schema engine to pgqueue_worker;
    end if;
    if to_regrole('pgqueue_viewer') is not null then
        grant usage on schema engine to pgqueue_viewer;
        grant select on all tables in schema engine to pgqueue_viewer;
    end if;
end
$$;
