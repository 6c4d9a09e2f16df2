String s0 = """
    insert into pgqueue.jobs (job_type, payload)
    values ('send_mail',
        ?)  -- expect: text-into-jsonb
    """;

String s1 = """
    select pgqueue.enqueue('send_mail',
        ?)  -- expect: text-into-jsonb
    """;
