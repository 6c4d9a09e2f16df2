S0 = """
    insert into pgqueue.jobs (job_type, payload)
    values ('send_mail',
        %(payload)s)  -- expect: text-into-jsonb
"""

S1 = """
    select pgqueue.enqueue('send_mail',
        %(payload)s)  -- expect: text-into-jsonb
"""
