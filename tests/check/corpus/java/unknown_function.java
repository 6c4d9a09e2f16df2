String s0 = """
    select pgqueue.enque('send_mail')  -- expect: unknown-function
    """;

String s1 = """
    select * from pgqueue.insert_many(?, 'ignore', null)  -- expect: unknown-function
    """;
