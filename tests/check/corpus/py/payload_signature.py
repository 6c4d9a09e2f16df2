S0 = """
    insert into pgqueue.jobs (job_type, payload)
    values ('send_mail',
        '{"to": 7}')  -- expect: payload-signature
"""

S1 = """
    select pgqueue.enqueue('send_mail',
        '{"to": "a@example.com", "colour": 1}')  -- expect: payload-signature
"""

S2 = """
    insert into pgqueue.jobs (job_type)
    values ('send_mail')  -- expect: payload-signature
"""
