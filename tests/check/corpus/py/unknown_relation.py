S0 = """
    insert into pgqueue."Jobs" (job_type) values ('send_mail')  -- expect: unknown-relation
"""

S1 = """
    select status from pgqueue.job_statuses where id = %(payload)s  -- expect: unknown-relation
"""
