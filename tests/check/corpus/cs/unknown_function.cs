var s0 = """
    select pgqueue.enque('send_mail')  -- expect: unknown-function
    """;

var s1 = """
    select * from pgqueue.insert_many(@payload, 'ignore', null)  -- expect: unknown-function
    """;
