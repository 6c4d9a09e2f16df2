-- Who may do what. The roles are optional: without them, the schema's owner does everything.
do $$
begin
    if to_regrole('pgqueue_worker') is not null then
        grant usage on schema warehouse to pgqueue_worker;
        grant select, insert, update on warehouse.products, warehouse.stock_levels to pgqueue_worker;
        grant select, insert, update, delete on warehouse.import_progress to pgqueue_worker;
        grant execute on all functions in schema warehouse to pgqueue_worker;
    end if;
    if to_regrole('pgqueue_viewer') is not null then
        grant usage on schema warehouse to pgqueue_viewer;
        grant select on all tables in schema warehouse to pgqueue_viewer;
    end if;
end
$$;
