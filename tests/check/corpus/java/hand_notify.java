String s0 = """
    notify pgqueue, 'ring *'  -- expect: hand-notify
    """;

String s1 = """
    select pg_notify('pgqueue', ?)  -- expect: hand-notify
    """;
