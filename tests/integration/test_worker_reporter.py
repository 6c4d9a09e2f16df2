"""Under load endings go over a connection of their own, and nothing depends on it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import Registry
from pgqueue.errors import DatabaseUnavailable
from pgqueue.worker import reporter
from pgqueue.worker.link import Link
from tests.support.workers import work_off

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Database = psycopg.Connection[Any]

JOBS = 4_000
Calls = Counter[str]


@pytest.fixture
def registry() -> Registry:
    """A handler that does nothing."""
    registry = Registry()

    @registry.job
    async def nothing() -> None: ...

    return registry


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """How many calls were made over which connection."""
    return watched(monkeypatch, lambda _: None)


def watched(monkeypatch: pytest.MonkeyPatch, after: Callable[[Link], None]) -> Calls:
    """Count calls, and do *after* each."""
    made: Calls = Counter()
    original = Link.call

    async def counted(self: Link, call: Any, **options: Any) -> Any:
        made[self.role] += 1
        answer = await original(self, call, **options)
        after(self)
        return answer

    monkeypatch.setattr(Link, "call", counted)
    return made


def finished_once(db: Database) -> bool:
    """Whether all jobs succeeded at their first attempt."""
    ended = db.execute("select count(*), max(attempt) from pgqueue.finished").fetchone()
    return ended == (JOBS, 1) and db.execute("select from pgqueue.attempts").rowcount == 0


@pytest.fixture
def load(db: Database) -> Database:
    """The database with many jobs."""
    db.execute(
        "insert into pgqueue.jobs (job_type) select 'nothing' from generate_series(1, %s)", (JOBS,)
    )
    return db


def test_under_load_endings_have_a_connection_of_their_own(
    dsn: str, load: Database, registry: Registry, calls: Calls
) -> None:
    """16 claims of 250 come back full; the endings of all but the first go beside the next."""
    work_off(registry, dsn, concurrency=500)

    assert finished_once(load)
    assert 5 <= calls["reports"] <= 20


def test_a_worker_of_few_slots_needs_no_fourth_connection(
    dsn: str, load: Database, registry: Registry, calls: Calls
) -> None:
    """Its batches are not worth two round trips."""
    work_off(registry, dsn, concurrency=200)

    assert finished_once(load)
    assert "reports" not in calls


def test_of_many_workers_none_needs_a_fourth_connection(
    dsn: str, load: Database, registry: Registry, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep the server busy as it is. One worker is more than none here."""
    monkeypatch.setattr(reporter, "WORKERS_MAX", 0)
    work_off(registry, dsn, concurrency=500)

    assert finished_once(load)
    assert "reports" not in calls


def test_a_report_whose_reply_is_lost_goes_with_the_next_claim(
    dsn: str,
    load: Database,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is repeated without harm; no line is logged, for nothing waited for that connection."""

    def lose(link: Link) -> None:
        if link.role == "reports":
            link.lost(DatabaseUnavailable("cut by the test"))
            raise DatabaseUnavailable("cut by the test")

    made = watched(monkeypatch, lose)
    work_off(registry, dsn, concurrency=500)

    assert finished_once(load)
    assert 1 <= made["reports"] <= 5
    assert "connection lost" not in caplog.text
