var s0 = """
    insert into pgqueue.jobs (job_type, payload)
    values ('send_mail',
        @payload)  -- expect: text-into-jsonb
    """;

var s1 = """
    select pgqueue.enqueue('send_mail',
        @payload)  -- expect: text-into-jsonb
    """;
