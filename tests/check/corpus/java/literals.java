// Strings and text blocks; "insert into pgqueue.jobs (oops) values (1)" is a comment.
class Producer {
    char quote = '"';
    // expect: unknown-column
    String escaped = "insert into pgqueue.jobs (job_type, \"Oops\") values ('a', 1)";
    String joined = "insert into pgqueue.jobs "
        + "(job_type, oops) "  // expect: unknown-column
        + "values ('a', 1)";
    String block = """
        insert into pgqueue.jobs (job_type, "Oops")  -- expect: unknown-column
        values ('a', '\"""')
        """;
    // expect: interpolation
    String pasted = "insert into pgqueue.jobs (job_type) values ('" + type + "')";
    // expect: text-into-jsonb
    String jdbc = "insert into pgqueue.jobs (job_type, payload) values (?, ?)";
    String cast = "insert into pgqueue.jobs (job_type, payload) values (?, ?::jsonb) on conflict do nothing";
    String hibernate = "insert into pgqueue.jobs (job_type, payload) values (:type, cast(:payload as jsonb))";
    String inbox = "insert into pgqueue.inbox (job_type, payload) values (?, ?)";
    String words = "see pgqueue.jobs for what select means";
}
