var s0 = """
    insert into pgqueue.jobs (job_type, idempotency_key) values ('send_mail', 'k')
    on conflict (idempotency_key) do nothing  -- expect: conflict-target
    """;

var s1 = """
    insert into pgqueue.jobs (job_type, unique_key) values ('send_mail', 'k')
    on conflict (tenant_id, unique_key) do nothing  -- expect: conflict-target
    """;

var s2 = """
    insert into pgqueue.jobs (job_type, unique_key) values ('send_mail', 'k')
    on conflict on constraint jobs_unique_key do nothing  -- expect: conflict-target
    """;

var s3 = """
    insert into pgqueue.inbox (id, job_type) values (gen_random_uuid(), 'send_mail')
    on conflict (id) do nothing  -- expect: conflict-target
    """;
