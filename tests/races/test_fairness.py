"""Turns between tenants while transactions are open, workers claim and fairness is turned."""

from __future__ import annotations

import random
import threading
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgqueue import Registry
from pgqueue.worker.floors import Floors
from tests.support.sqljobs import claim, column, insert, report, value, worker
from tests.support.wait import eventually
from tests.support.workers import working

if TYPE_CHECKING:
    from typing import Any

    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Db

_JOBS = 2_000


def _enqueue(db: Db, tenant: str, count: int = _JOBS) -> None:
    db.execute(
        "insert into pgqueue.jobs (job_type, tenant_id) select 't', %s from generate_series(1, %s)",
        (tenant, count),
    )


@pytest.fixture
def db(open_session: Open) -> Db:
    """A connection; the queue default is fair."""
    opened = open_session()
    opened.execute("select pgqueue.set_fairness('default')")
    return opened


@pytest.mark.parametrize("used_before", [False, True])
def test_thousands_not_yet_committed_push_nobody_behind_them(
    db: Db, open_session: Open, *, used_before: bool
) -> None:
    """The lane looks empty to the single job, which is committed while they are on their way."""
    if used_before:
        _enqueue(db, "a", 300)
        report(db, claim(db, worker(db), 300))
        db.execute("select pgqueue.mark_lanes()")
    bulk = open_session.transaction()
    _enqueue(bulk, "a")
    db.execute("select pgqueue.mark_lanes()")
    insert(db, tenant_id="b")
    bulk.commit()
    order = [job.tenant_id for job in claim(db, worker(db), 10_000)]

    assert len(order) == _JOBS + 1
    assert order.index("b") <= 2


def test_a_newcomer_is_claimed_next_while_a_claim_is_in_flight(db: Db, open_session: Open) -> None:
    """Its producer still sees the head that somebody has in his hands; floors follow later."""
    _enqueue(db, "a")
    by, mine = worker(db), Floors(["default"])
    slow = open_session.transaction()
    first = claim(slow, by, 100)
    mine.saw(claim(db, by, 100, floors=mine.array()))  # type: ignore[arg-type]
    insert(db, tenant_id="b")
    found = [job.tenant_id for job in claim(db, by, 100, floors=mine.array())]
    slow.commit()

    assert len(first) == 100
    assert found[0] == "b"


def test_the_floors_of_fair_queues_rise_in_the_end(db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fifth of a second under load and 2.5 otherwise, by a clock that the test moves."""
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("pgqueue.worker.floors.time", clock)
    _enqueue(db, "a")
    by, mine = worker(db), Floors(["default"])
    seen = []
    for seconds, full in ((0.0, True), (0.21, True), (0.21, False), (2.6, False)):
        now[0] += seconds
        batch = claim(db, by, 10, floors=mine.array())
        mine.saw(batch, full=full)  # type: ignore[arg-type]
        seen.append((mine.array()[1], batch[-1].pos + 1))

    assert [floor for floor, _ in seen] == [0, seen[0][1], seen[0][1], seen[2][1]]


def _produce(db: Db, seed: int, count: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    for n in range(count):
        with db.transaction():
            for _ in range(draw.choice([1, 1, 1, 5])):
                insert(db, tenant_id=draw.choice("abc"), priority=draw.choice([1, 1, 2]))
            if n % 10 == 0:
                db.execute("select pg_sleep(%s)", (draw.random() / 50,))


def test_a_worker_misses_no_job_of_a_fair_queue(
    db: Db, open_session: Open, sessions: Sessions, dsn: str
) -> None:
    """Five producers and a worker that would not look again for 30 s by itself."""
    registry = Registry()
    done = threading.Semaphore(0)

    @registry.job("t")
    async def t() -> None:
        done.release()

    with working(registry, dsn, poll_seconds=30, concurrency=8):
        sessions.together([partial(_produce, open_session(), n, 60) for n in range(5)])
        eventually(
            lambda: value(db, "select count(*) from pgqueue.ready") == 0,
            seconds=20,
            what="the worker has found every job",
        )

    assert value(db, "select count(*) from pgqueue.finished") == value(
        db, "select count(*) from pgqueue.jobs"
    )


def _turn(db: Db, seed: int) -> list[Any]:
    refusals = []
    for n in range(12):
        try:
            db.execute("select pgqueue.set_fairness('default', %s)", ((n + seed) % 2 == 0,))
        except psycopg.errors.LockNotAvailable as exc:
            refusals.append(exc.sqlstate)
    return refusals


def _consume(db: Db, stop: threading.Event) -> int:
    by, mine, count = worker(db), Floors(["default"]), 0
    while True:
        over = stop.is_set()
        batch = claim(db, by, 20, floors=mine.array())
        if len(batch) < 20:
            batch += claim(db, by, 20)
        mine.saw(batch)  # type: ignore[arg-type]
        report(db, batch)
        count += len(batch)
        if over and not batch:
            return count


def test_fairness_is_turned_on_and_off_under_load(
    db: Db, open_session: Open, sessions: Sessions
) -> None:
    """Nobody deadlocks, and each job is done once."""
    stop = threading.Event()
    consumers = [partial(_consume, open_session(), stop) for _ in range(2)]
    others: list[partial[Any]] = [partial(_produce, open_session(), n, 60) for n in range(3)]
    turner = partial(_turn, open_session(), 0)

    def load() -> None:
        for ended in [sessions.submit(one) for one in (*others, turner)]:
            ended.result(25)
        stop.set()

    counts = sessions.together([*consumers, load])[:2]

    assert sum(counts) == value(db, "select count(*) from pgqueue.jobs")
    assert column(db, "select problem from pgqueue.verify()") == []
