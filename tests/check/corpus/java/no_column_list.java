String s0 = """
    insert into pgqueue.jobs  -- expect: no-column-list
    values (default, 'send_mail')
    """;

String s1 = """
    insert into pgqueue.jobs default values  -- expect: no-column-list
    """;
