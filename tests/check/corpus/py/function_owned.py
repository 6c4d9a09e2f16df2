S0 = """
    update pgqueue.jobs set priority = 0 where id = %(payload)s  -- expect: function-owned
"""

S1 = """
    delete from pgqueue.ready where queue = 'mail'  -- expect: function-owned
"""

S2 = """
    insert into pgqueue.queues (queue) values ('mail')  -- expect: function-owned
"""

S3 = """
    truncate pgqueue.jobs  -- expect: function-owned
"""
