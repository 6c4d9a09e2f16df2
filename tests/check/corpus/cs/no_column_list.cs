var s0 = """
    insert into pgqueue.jobs  -- expect: no-column-list
    values (default, 'send_mail')
    """;

var s1 = """
    insert into pgqueue.jobs default values  -- expect: no-column-list
    """;
