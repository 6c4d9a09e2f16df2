var s0 = """
    select pgqueue.enqueue('send_mail',
        queue => 'mail')  -- expect: function-arguments
    """;

var s1 = """
    select pgqueue.enqueue()  -- expect: function-arguments
    """;

var s2 = """
    select pgqueue.cancel(@payload, 'why', 'more')  -- expect: function-arguments
    """;

var s3 = """
    select pgqueue.enqueue('send_mail',
        p_on_duplicate => 'update')  -- expect: function-arguments
    """;

var s4 = """
    call pgqueue.cancel(@payload)  -- expect: function-arguments
    """;
