-- What workers may do here. The role is optional: without it, the schema's owner runs them.
do $$
begin
    if to_regrole('pgqueue_worker') is not null then
        grant usage on schema warehouse to pgqueue_worker;
        grant select, insert, update on warehouse.products, warehouse.stock_levels to pgqueue_worker;
        grant select, insert, update, delete on warehouse.import_progress to pgqueue_worker;
        grant execute on all functions in schema warehouse to pgqueue_worker;
    end if;
end
$$;
