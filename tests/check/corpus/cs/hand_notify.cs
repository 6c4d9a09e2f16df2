var s0 = """
    notify pgqueue, 'ring *'  -- expect: hand-notify
    """;

var s1 = """
    select pg_notify('pgqueue', @payload)  -- expect: hand-notify
    """;
