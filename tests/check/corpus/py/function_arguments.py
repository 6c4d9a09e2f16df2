S0 = """
    select pgqueue.enqueue('send_mail',
        queue => 'mail')  -- expect: function-arguments
"""

S1 = """
    select pgqueue.enqueue()  -- expect: function-arguments
"""

S2 = """
    select pgqueue.cancel(%(payload)s, 'why', 'more')  -- expect: function-arguments
"""

S3 = """
    select pgqueue.enqueue('send_mail',
        p_on_duplicate => 'update')  -- expect: function-arguments
"""

S4 = """
    call pgqueue.cancel(%(payload)s)  -- expect: function-arguments
"""
