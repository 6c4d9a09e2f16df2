"""insert into pgqueue.jobs (oops) values (1): a docstring is no SQL, nor is a comment."""

# "insert into pgqueue.jobs (oops) values (1)"
from psycopg import sql


def produce(conn, kind, body, queue):
    """select pgqueue.enque()."""
    # expect: unknown-column
    conn.execute("insert into pgqueue.jobs (job_type, oops) values (%s, %s)", (kind, 1))
    conn.execute(
        "insert into pgqueue.jobs "
        "(job_type, oops) "  # expect: unknown-column
        "values (%s, 1) -- 50 %%",
        (kind,),
    )
    conn.execute(
        "insert into pgqueue.jobs " + "(job_type, " + 'oops) values (%(kind)s, 1)'  # expect: unknown-column
    )
    conn.execute(
        r"""insert into pgqueue.jobs
            (job_type, "Oops")  -- expect: unknown-column
            values ('\d', %s)"""
    )
    # expect: interpolation
    conn.execute(f"insert into pgqueue.jobs (job_type) values ('{kind!r}')")
    # expect: interpolation
    conn.execute(f"insert into pgqueue.jobs (job_type, queue) values (%s, {queue['}']})", (kind,))
    # expect: text-into-jsonb
    conn.execute("insert into pgqueue.jobs (job_type, payload) values (%s, %s)", (kind, body))
    conn.execute("insert into pgqueue.jobs (job_type, payload) values (%s, %s::jsonb)", (kind, body))
    conn.execute("insert into pgqueue.inbox (job_type, payload) values (:kind, :body)")
    conn.execute(sql.SQL("insert into pgqueue.jobs ({}) values ({})").format(names, values))
    conn.execute(sql.SQL("insert into pgqueue.jobs (job_type, payload) values ({}, {})").format(kind, body))
    conn.execute("select pgqueue.cancel(%s)", (body,))
    return f"see pgqueue.jobs for {kind}", "é insert pgqueue"
