var s0 = """
    update pgqueue.jobs set priority = 0 where id = @payload  -- expect: function-owned
    """;

var s1 = """
    delete from pgqueue.ready where queue = 'mail'  -- expect: function-owned
    """;

var s2 = """
    insert into pgqueue.queues (queue) values ('mail')  -- expect: function-owned
    """;

var s3 = """
    truncate pgqueue.jobs  -- expect: function-owned
    """;
