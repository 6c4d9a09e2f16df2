S0 = """
    notify pgqueue, 'ring *'  -- expect: hand-notify
"""

S1 = """
    select pg_notify('pgqueue', %(payload)s)  -- expect: hand-notify
"""
