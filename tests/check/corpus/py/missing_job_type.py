S0 = """
    insert into pgqueue.jobs (payload)  -- expect: missing-job-type
    values ('{}')
"""

S1 = """
    with o as (select 1 as id)
    insert into pgqueue.inbox (queue)  -- expect: missing-job-type
    select 'mail' from o
"""
