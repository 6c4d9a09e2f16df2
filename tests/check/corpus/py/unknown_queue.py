S0 = """
    insert into pgqueue.jobs (job_type, queue, payload)
    values ('send_mail', 'mial', '{"to": "a"}')  -- expect: unknown-queue
"""
