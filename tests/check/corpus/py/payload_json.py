S0 = """
    insert into pgqueue.jobs (job_type, payload)
    values ('send_mail',
        '[1, 2]'),  -- expect: payload-json
        ('send_mail',
        '{broken')  -- expect: payload-json
"""

S1 = """
    select pgqueue.enqueue('send_mail', p_headers =>
        'x')  -- expect: payload-json
"""
