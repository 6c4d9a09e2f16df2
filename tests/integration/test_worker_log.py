"""What a worker logs about a job is what the database says, never what the worker expects."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import JobContext, Registry
from tests.support.wait import eventually
from tests.support.workers import enqueue, reaches, working

if TYPE_CHECKING:
    import psycopg

    Database = psycopg.Connection[Any]

Gate = tuple[Registry, threading.Event, threading.Event]


@pytest.fixture
def gate() -> Gate:
    """Handlers whose first attempts say that they run and wait, whatever anybody asks."""
    registry = Registry()
    began, go = threading.Event(), threading.Event()

    def wait(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            began.set()
            go.wait(30)

    @registry.job
    def raises(ctx: JobContext) -> None:
        wait(ctx)
        raise ValueError("after all")

    @registry.job
    def returns(ctx: JobContext) -> None:
        wait(ctx)

    @registry.job
    async def enqueues(ctx: JobContext) -> None:
        ctx.enqueue("off")

    return registry, began, go


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The first two words of what was logged about jobs and reports, but for their start."""
    names = [" ".join(record.getMessage().split(" ")[:2]) for record in caplog.records]
    return [
        name for name in names if name.startswith(("job ", "report ")) and "started" not in name
    ]


def test_a_failure_of_a_job_that_is_to_be_cancelled_is_logged_as_cancelled(
    dsn: str, db: Database, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler raised with attempts left; the request to cancel decides what that means."""
    registry, began, go = gate
    caplog.set_level(logging.INFO, "pgqueue.worker")
    with working(registry, dsn):
        job_id = enqueue(db, "raises")
        assert began.wait(20)
        db.execute("select pgqueue.cancel(%s)", (job_id,))
        go.set()
        reaches(db, job_id, "cancelled")

    assert events(caplog) == ["job cancelled"]


def test_a_limit_of_attempts_that_changed_meanwhile_is_in_the_log(
    dsn: str, db: Database, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """The claim had promised more attempts; the job is failed, and logged as failed."""
    registry, began, go = gate
    caplog.set_level(logging.INFO, "pgqueue.worker")
    with working(registry, dsn):
        job_id = enqueue(db, "raises")
        assert began.wait(20)
        db.execute("select pgqueue.set_job_type('raises', p_max_attempts => 1)")
        go.set()
        reaches(db, job_id, "failed")

    assert events(caplog) == ["job failed"]


def test_a_success_that_is_refused_is_not_logged_as_one(
    dsn: str, db: Database, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """Another attempt owns the job: only that one says that the job succeeded."""
    registry, began, go = gate
    caplog.set_level(logging.INFO, "pgqueue.worker")
    with working(registry, dsn):
        job_id = enqueue(db, "returns")
        assert began.wait(20)
        db.execute("update pgqueue.running set deadline_at = '2001-01-01'")
        db.execute("select pgqueue.rescue()")
        reaches(db, job_id, "succeeded")
        eventually(lambda: "job succeeded" in events(caplog))
        go.set()
        eventually(lambda: "report refused" in events(caplog), what="the late report is refused")

    assert events(caplog) == ["job succeeded", "report refused"]


def test_a_success_that_postgresql_refuses_is_logged_where_successes_are_not(
    dsn: str, db: Database, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """With INFO off a success costs no log line, and this one still is logged as failed."""
    registry, _, _ = gate
    caplog.set_level(logging.WARNING, "pgqueue.worker")
    db.execute("select pgqueue.set_job_type('off', p_enabled => false)")
    with working(registry, dsn):
        job_id = enqueue(db, "enqueues")
        reaches(db, job_id, "failed")

    assert events(caplog) == ["job failed"]
