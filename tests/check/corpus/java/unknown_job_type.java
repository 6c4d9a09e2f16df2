String s0 = """
    insert into pgqueue.jobs (job_type)
    values ('send_mial')  -- expect: unknown-job-type
    """;

String s1 = """
    select pgqueue.enqueue(
        'sendmail')  -- expect: unknown-job-type
    """;
