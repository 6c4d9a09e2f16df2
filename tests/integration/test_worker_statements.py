"""The statements of transactional handlers end: by an answer, or by a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import JobContext, Registry
from pgqueue.worker import transaction
from tests.support.workers import enqueue, reaches, working

if TYPE_CHECKING:
    import psycopg

    Database = psycopg.Connection[Any]


@pytest.mark.parametrize("kind", ["async", "thread"])
@pytest.mark.parametrize("limit", [None, 60])
def test_a_statement_of_a_handler_does_not_wait_for_ever(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch, kind: str, limit: int | None
) -> None:
    """A server that hangs: the connection is given up and the attempt fails, limit or no limit."""
    monkeypatch.setattr(transaction, "UNLIMITED_SECONDS", 0.5)
    monkeypatch.setattr(transaction, "GRACE_SECONDS", 0.5 - (limit or 0))
    registry = Registry()
    if kind == "async":

        @registry.job("hang", transactional=True, timeout=limit, retries=0)
        async def hang_in_task(ctx: JobContext) -> None:
            await ctx.connection.execute("select pg_sleep(60)")

    else:

        @registry.job("hang", transactional=True, timeout=limit, retries=0)
        def hang_in_thread(ctx: JobContext) -> None:
            ctx.connection.execute("select pg_sleep(60)")

    job_id = enqueue(db, "hang")
    with working(registry, dsn):
        reaches(db, job_id, "failed")

    ((message,),) = db.execute("select errors -> -1 ->> 'message' from pgqueue.finished").fetchall()
    assert "no answer" in message


def test_extending_a_job_gives_its_statements_more_time(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ctx.extend() moves the deadline of the statements that follow, too."""
    monkeypatch.setattr(transaction, "GRACE_SECONDS", 0.2 - 60)
    registry = Registry()

    @registry.job(transactional=True, timeout=60, retries=0)
    async def slow(ctx: JobContext) -> None:
        ctx.extend(120)
        await ctx.connection.execute("select pg_sleep(0.6)")

    job_id = enqueue(db, "slow")
    with working(registry, dsn):
        reaches(db, job_id, "succeeded")
