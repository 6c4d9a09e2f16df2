S0 = """
    insert into pgqueue.jobs (job_type,
        created_at)  -- expect: unwritable-column
    select 'send_mail', now()
"""

S1 = """
    insert into pgqueue.inbox (job_type, inserted)  -- expect: unwritable-column
    values ('send_mail', true)
"""
