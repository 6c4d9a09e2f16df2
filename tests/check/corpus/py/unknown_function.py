S0 = """
    select pgqueue.enque('send_mail')  -- expect: unknown-function
"""

S1 = """
    select * from pgqueue.insert_many(%(payload)s, 'ignore', null)  -- expect: unknown-function
"""
