String s0 = """
    select pgqueue.enqueue('send_mail',
        queue => 'mail')  -- expect: function-arguments
    """;

String s1 = """
    select pgqueue.enqueue()  -- expect: function-arguments
    """;

String s2 = """
    select pgqueue.cancel(?, 'why', 'more')  -- expect: function-arguments
    """;

String s3 = """
    select pgqueue.enqueue('send_mail',
        p_on_duplicate => 'update')  -- expect: function-arguments
    """;

String s4 = """
    call pgqueue.cancel(?)  -- expect: function-arguments
    """;
