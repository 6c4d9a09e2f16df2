-- What workers may do here. The role is optional: without it, the schema's owner runs them.
do $$
begin
    if to_regrole('pgqueue_worker') is not null then
        grant usage on schema demo to pgqueue_worker;
        grant select, insert, update on demo.prices to pgqueue_worker;
        grant execute on function demo.upsert_prices(jsonb) to pgqueue_worker;
    end if;
end
$$;
