"""Call a SQL function as a job: for teams that write SQL and no Python."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pgqueue import Fail, JobContext, job, jsonio

NOT_ALLOWED = "TS001"  # raised by tasks.run()


@job("sql_task", retries=3, timeout=600, transactional=True)
async def sql_task(
    ctx: JobContext, function: str, arguments: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """
    Call an allowed function; what it writes commits together with the job, and exactly once.

    Args:
        ctx: The run.
        function: A name in tasks.allowed_functions.
        arguments: What the function gets, one JSON object.

    Returns:
        What it returned, under `returned`. An error of the function fails the attempt.

    Raises:
        Fail: The function is not allowed (code function_not_allowed).
    """
    connection: Any = ctx.connection
    try:
        cursor = await connection.execute(
            "select tasks.run(%s, %s)", [function, Jsonb(arguments or {}, dumps=jsonio.dumps)]
        )
    except psycopg.Error as exc:
        if exc.sqlstate == NOT_ALLOWED:
            raise Fail(str(exc.diag.message_primary), code="function_not_allowed") from exc
        raise
    (returned,) = await cursor.fetchone()
    return None if returned is None else {"returned": returned}
