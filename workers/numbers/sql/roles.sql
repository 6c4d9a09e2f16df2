-- Who may call what. The roles are optional: without them, the schema's owner calls everything.
do $$
begin
    if to_regrole('pgqueue_worker') is not null then
        grant usage on schema numbers to pgqueue_worker;
        grant execute on function numbers.start_work(uuid, integer, bigint, text) to pgqueue_worker;
        grant execute on function numbers.finish_work(text, integer, bigint) to pgqueue_worker;
    end if;
    if to_regrole('pgqueue_producer') is not null then
        grant usage on schema numbers to pgqueue_producer;
        grant execute on function numbers.create_work(bigint) to pgqueue_producer;
        grant execute on function numbers.search_works(timestamptz, timestamptz, boolean, text, integer) to pgqueue_producer;
    end if;
    if to_regrole('pgqueue_viewer') is not null then
        grant usage on schema numbers to pgqueue_viewer;
        grant select on numbers.works, numbers.work_events to pgqueue_viewer;
        grant execute on function numbers.search_works(timestamptz, timestamptz, boolean, text, integer) to pgqueue_viewer;
    end if;
end
$$;
