var s0 = """
    insert into pgqueue.jobs (payload)  -- expect: missing-job-type
    values ('{}')
    """;

var s1 = """
    with o as (select 1 as id)
    insert into pgqueue.inbox (queue)  -- expect: missing-job-type
    select 'mail' from o
    """;
