String s0 = """
    update pgqueue.jobs set priority = 0 where id = ?  -- expect: function-owned
    """;

String s1 = """
    delete from pgqueue.ready where queue = 'mail'  -- expect: function-owned
    """;

String s2 = """
    insert into pgqueue.queues (queue) values ('mail')  -- expect: function-owned
    """;

String s3 = """
    truncate pgqueue.jobs  -- expect: function-owned
    """;
