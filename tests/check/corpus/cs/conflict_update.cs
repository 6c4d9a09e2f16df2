var s0 = """
    insert into pgqueue.jobs (job_type, unique_key) values ('send_mail', 'k')
    on conflict (tenant_id, unique_key)  -- expect: conflict-update
    where unique_key is not null do update set payload = excluded.payload
    """;
