String s0 = """
    insert into pgqueue.jobs (job_type, priority)  -- expect: null-value
    values ('send_mail', null)
    """;
