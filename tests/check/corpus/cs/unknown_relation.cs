var s0 = """
    insert into pgqueue."Jobs" (job_type) values ('send_mail')  -- expect: unknown-relation
    """;

var s1 = """
    select status from pgqueue.job_statuses where id = @payload  -- expect: unknown-relation
    """;
