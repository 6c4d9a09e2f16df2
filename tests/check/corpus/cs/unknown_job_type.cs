var s0 = """
    insert into pgqueue.jobs (job_type)
    values ('send_mial')  -- expect: unknown-job-type
    """;

var s1 = """
    select pgqueue.enqueue(
        'sendmail')  -- expect: unknown-job-type
    """;
