"""How idle workers wake. The poll interval is long, so that every lost wake-up shows."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgqueue import DatabaseUnavailable, Registry
from pgqueue.worker import Worker, engine, exchange, floors
from pgqueue.worker.doorbell import Doorbell
from pgqueue.worker.exchange import Exchange
from pgqueue.worker.floors import Floors
from pgqueue.worker.link import Link
from pgqueue.worker.stream import STREAM_SECONDS
from tests.support.wait import eventually
from tests.support.workers import enqueue, reaches, working

if TYPE_CHECKING:
    from tests.conftest import Connect

    Database = psycopg.Connection[Any]

POLL_SECONDS = 60.0
# A wake-up takes milliseconds; this is for a machine under load, and far below the poll interval.
SOON_SECONDS = 5.0
DOOR, SEAT = 7067001, 7067002
_CLAIMS = ("pgqueue.claim(", "pgqueue.exchange(")


@pytest.fixture
def registry() -> Registry:
    """A handler that does nothing."""
    registry = Registry()

    @registry.job
    async def nothing() -> None: ...

    return registry


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of all claims of the workers in this process."""
    made: list[float] = []
    original = Link.call

    async def counted(self: Link, call: Any, **options: Any) -> Any:
        if any(name in str(call.sql) for name in _CLAIMS):
            made.append(time.monotonic())
        return await original(self, call, **options)

    monkeypatch.setattr(Link, "call", counted)
    return made


def held(db: Database, key: int) -> int:
    """How many doors or seats are taken in this database."""
    rows = db.execute(
        "select count(*) from pg_locks where locktype = 'advisory' and granted and classid = %s"
        " and database = (select oid from pg_database where datname = current_database())",
        (key,),
    ).fetchall()
    return int(rows[0][0])


def asleep(db: Database, *, doors: int = 1, seats: int = 0) -> None:
    """Wait until so many doors and seats are taken."""
    eventually(
        lambda: (held(db, DOOR), held(db, SEAT)) == (doors, seats),
        what=f"{doors} doors and {seats} seats are taken",
    )


def test_an_insert_wakes_a_sleeping_worker(dsn: str, db: Database, registry: Registry) -> None:
    """Each of ten jobs starts soon after its commit, not at the next poll."""
    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        for _ in range(10):
            asleep(db)
            reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)


def test_every_queue_has_a_door(dsn: str, db: Database, registry: Registry) -> None:
    """A worker of three queues is woken by each of them, and by a queue's jobs only."""
    with working(registry, dsn, queues=("a", "b", "c"), poll_seconds=POLL_SECONDS):
        for queue in ("c", "a", "b", "a"):
            asleep(db, doors=3)
            ((job_id,),) = db.execute(
                "insert into pgqueue.jobs (job_type, queue) values ('nothing', %s) returning id",
                (queue,),
            ).fetchall()
            reaches(db, job_id, "succeeded", seconds=SOON_SECONDS)


def test_a_job_that_comes_due_wakes_a_sleeping_worker(
    dsn: str, db: Database, registry: Registry
) -> None:
    """Promotion rings, and workers come back for it when the job is due."""
    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        asleep(db)
        ((job_id,),) = db.execute(
            "insert into pgqueue.jobs (job_type, run_at)"
            " values ('nothing', now() + interval '1 second') returning id"
        ).fetchall()
        reaches(db, job_id, "succeeded", seconds=SOON_SECONDS)


def test_a_transaction_that_inserted_long_ago_is_noticed_at_its_commit(
    dsn: str, db: Database, connect: Connect, registry: Registry
) -> None:
    """While it is open nobody can sleep at the door; what it inserted starts soon after."""
    early = connect(autocommit=False)
    job_id = enqueue(early, "nothing")
    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)
        doors = held(db, DOOR)
        early.commit()
        reaches(db, job_id, "succeeded", seconds=SOON_SECONDS)

    # The inserter's own shared lock.
    assert doors == 1


def test_a_full_worker_passes_the_door_on(dsn: str, db: Database) -> None:
    """Two workers with one slot each: the second job wakes the second worker."""
    go, started = threading.Event(), threading.Semaphore(0)
    registry = Registry()

    @registry.job
    def wait() -> None:
        started.release()
        go.wait(30)

    with ExitStack() as workers:
        for number in range(3):
            workers.enter_context(
                working(registry, dsn, concurrency=1, poll_seconds=POLL_SECONDS, name=f"w{number}")
            )
        asleep(db, seats=2)
        ids = []
        for _ in range(3):
            ids.append(enqueue(db, "wait"))
            began = started.acquire(timeout=SOON_SECONDS)
            assert began, "no worker woke for the job"
        go.set()
        for job_id in ids:
            reaches(db, job_id, "succeeded", seconds=SOON_SECONDS)


def _past(moment: float) -> bool:
    return time.monotonic() > moment


@pytest.mark.parametrize(("slots", "claims_each"), [(50, 1), (1, 2)])
def test_many_idle_workers_are_no_herd(
    dsn: str,
    db: Database,
    registry: Registry,
    claims: list[float],
    monkeypatch: pytest.MonkeyPatch,
    slots: int,
    claims_each: int,
) -> None:
    """
    With 16 idle workers one claim is made per inserted job.

    A worker of one slot is full with it: the next one takes the door and claims to be sure.
    """
    workers, jobs = 16, 20
    # On a busy machine any claim may take long; the next one would be made in two.
    monkeypatch.setattr(floors, "LONG_SECONDS", POLL_SECONDS)
    with ExitStack() as stack:
        for number in range(workers):
            options = {"poll_seconds": POLL_SECONDS, "name": f"w{number}", "concurrency": slots}
            stack.enter_context(working(registry, dsn, **options))
        asleep(db, seats=workers - 1)
        before = len(claims)
        for _ in range(jobs):
            reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)
            # Else the next job makes a stream of two, in which somebody stays up and polls.
            eventually(partial(_past, time.monotonic() + STREAM_SECONDS), what="the stream is over")
            asleep(db, seats=workers - 1)
        made = len(claims) - before

    assert jobs * claims_each == made


def test_a_worker_whose_doorman_handles_less_looks_for_itself(
    dsn: str, db: Database, registry: Registry
) -> None:
    """It leaves the last look to a doorman of its own kind only: these three jobs run in a row."""
    picky = Registry()

    @picky.job
    async def rare() -> None:
        # Longer than what counts as a stream, in which a worker stays up anyway.
        await asyncio.sleep(2 * STREAM_SECONDS)

    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        asleep(db)
        ids = [enqueue(db, "rare") for _ in range(3)]
        with working(picky, dsn, poll_seconds=POLL_SECONDS, concurrency=1):
            for job_id in ids:
                reaches(db, job_id, "succeeded", seconds=SOON_SECONDS)


def test_an_idle_worker_makes_no_claims(
    dsn: str, db: Database, registry: Registry, claims: list[float]
) -> None:
    """Between two polls it only sleeps: no claim in the time that 40 heartbeats take."""
    with working(registry, dsn, poll_seconds=POLL_SECONDS, lease_seconds=1.0):
        asleep(db)
        before = len(claims)
        beats = heartbeat(db)
        eventually(lambda: heartbeat(db) > beats + 2.0, what="two seconds of heartbeats")

        assert before == len(claims)


def heartbeat(db: Database) -> float:
    """When the worker was last heard of, in seconds."""
    ((at,),) = db.execute(
        "select extract(epoch from heartbeat_at)::double precision from pgqueue.workers"
    ).fetchall()
    return float(at)


def test_a_steady_stream_is_not_one_notification_per_job(
    dsn: str, db: Database, connect: Connect, registry: Registry
) -> None:
    """While jobs keep coming the worker stays awake, and inserting does not NOTIFY."""
    ear = connect()
    ear.execute("listen pgqueue")
    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        asleep(db)
        last = None
        for _ in range(300):
            last = enqueue(db, "nothing")
        reaches(db, last, "succeeded", seconds=SOON_SECONDS)
        rings = [n for n in ear.notifies(timeout=0.2) if n.payload.startswith("ring")]

    assert 1 <= len(rings) <= 100


def test_claims_that_take_long_keep_nobody_at_the_door(
    dsn: str, db: Database, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Under a held snapshot a claim without floors takes longer than a stream's gap.

    Who took that for a lull claimed at the door only, where each claim is such a one and each
    INSERT must NOTIFY: at 1,000 jobs/s, after 40 s of a held snapshot, one in four.
    """
    original = Link.call

    async def call(self: Link, call: Any, **options: Any) -> Any:
        answer = await original(self, call, **options)
        without_floors = any(name in str(call.sql) for name in _CLAIMS) and call.params[3] is None
        if without_floors:
            await asyncio.sleep(2 * STREAM_SECONDS)
        return answer

    monkeypatch.setattr(Link, "call", call)
    # Else claims from the floors, which take no time, would make it a stream.
    monkeypatch.setattr(floors, "LONG_SECONDS", POLL_SECONDS)
    # So many slots are not filled by what comes meanwhile: that would be a reason to get up.
    with working(registry, dsn, poll_seconds=POLL_SECONDS, concurrency=1000):
        asleep(db)
        got_up = False
        for _ in range(3_000):
            enqueue(db, "nothing")
            if got_up := not held(db, DOOR):
                break

    assert got_up


def test_a_job_that_rings_does_not_wait_for_a_sweep_that_takes_long(
    dsn: str, db: Database, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is claimed from the floors; the sweep follows before the worker sleeps."""
    seen: list[tuple[bool, bool]] = []
    original = Link.call

    async def call(self: Link, call: Any, **options: Any) -> Any:
        answer = await original(self, call, **options)
        if "pgqueue.claim(" in str(call.sql):
            seen.append((call.params[3] is None, bool(answer)))
        return answer

    monkeypatch.setattr(Link, "call", call)
    monkeypatch.setattr(Floors, "sweep_takes_long", True)
    monkeypatch.setattr(floors, "SWEEP_COST_FACTOR", 1e6)  # no sweep but those of the door
    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        asleep(db)
        eventually(lambda: len(seen) >= 2, what="the claims before the worker sleeps are made")
        del seen[:]
        reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)
        eventually(lambda: len(seen) >= 2, what="a sweep follows")

    assert seen[:2] == [(False, True), (True, False)]


def test_of_two_jobs_that_ring_one_may_lie_below_the_floor(
    dsn: str, db: Database, connect: Connect, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It drew its position first and commits last, where sweeps take long: it starts soon."""
    monkeypatch.setattr(Floors, "sweep_takes_long", True)
    monkeypatch.setattr(floors, "SWEEP_COST_FACTOR", 1e6)  # no sweep but those of the door
    monkeypatch.setattr(floors, "LAG_SECONDS", 0.0)
    early = connect(autocommit=False)
    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        asleep(db)
        first = enqueue(early, "nothing")
        reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)
        early.commit()

        reaches(db, first, "succeeded", seconds=SOON_SECONDS)


def test_without_a_doorbell_workers_poll(dsn: str, db: Database, registry: Registry) -> None:
    """Behind a pooler there is no LISTEN: no door is taken and jobs start at the next poll."""
    with working(registry, dsn, pooler="yes", poll_seconds=0.1):
        for _ in range(3):
            reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)
        doors = held(db, DOOR)

    assert doors == 0


def test_forged_notifications_do_no_harm(dsn: str, db: Database, registry: Registry) -> None:
    """Anybody may NOTIFY on the channel: garbage is ignored."""
    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        asleep(db)
        for forged in ("", "ring", "ring x", "seat 1", "seat x y", "cancel", "cancel ²", "ring *"):
            db.execute("select pg_notify('pgqueue', %s)", (forged,))
        reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)


def test_idle_workers_share_a_burst_of_instant_jobs(
    dsn: str, db: Database, registry: Registry
) -> None:
    """A doorman whose claim comes back full wakes the next, though it is never out of slots."""
    with ExitStack() as workers:
        for name in ("first", "second", "third"):
            options = {"poll_seconds": POLL_SECONDS, "concurrency": 5, "name": name}
            workers.enter_context(working(registry, dsn, **options))
        asleep(db, doors=1, seats=2)
        db.execute(
            "insert into pgqueue.jobs (job_type) select 'nothing' from generate_series(1, 3000)"
        )
        eventually(lambda: db.execute("select from pgqueue.finished").rowcount == 3000, seconds=60)

    shares = db.execute("select count(*) from pgqueue.finished group by worker_id").fetchall()
    assert len(shares) == 3


def test_a_worker_that_finds_much_when_it_lies_down_gets_up_again(
    dsn: str, db: Database, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its last claim leaves behind nobody rings for: it does not wait for the next poll."""
    inserted: list[str] = []

    def insert(place: str) -> None:
        if place == "before_last_claim" and not inserted:
            inserted.append(place)
            with psycopg.connect(dsn) as other:
                other.execute(
                    "insert into pgqueue.jobs (job_type)"
                    " select 'nothing' from generate_series(1, 100)"
                )

    monkeypatch.setattr(engine, "reach", insert)
    # The ring of that insert is lost: nobody listens to it.
    monkeypatch.setattr(Doorbell, "_ring", lambda _: None)
    with working(registry, dsn, concurrency=10, poll_seconds=POLL_SECONDS):
        eventually(lambda: db.execute("select from pgqueue.finished").rowcount == 100, seconds=20)


def test_a_ring_outlives_a_claim_that_cannot_be_made(
    dsn: str, db: Database, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection fails before it is sent: the worker looks again, not at the next poll."""
    failures: list[Exception] = []
    original = Exchange.claim

    async def claim(self: Exchange, room: int, **options: Any) -> int:
        if failures:
            raise failures.pop()
        return await original(self, room, **options)

    monkeypatch.setattr(Exchange, "claim", claim)
    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        asleep(db)
        failures.append(DatabaseUnavailable("cut"))
        reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)

    assert failures == []


def test_a_poll_that_finds_a_full_load_goes_on_claiming(
    registry: Registry, dsn: str, db: Database, claims: list[float]
) -> None:
    """Nobody rings, as when the notify queue is full: 40 jobs, two at a time, take one poll."""
    db.execute(
        "create or replace function pgqueue.ring(p_queues text[]) returns void"
        " language plpgsql set search_path = pg_catalog, pg_temp as 'begin end'"
    )
    with working(registry, dsn, poll_seconds=1.0, concurrency=2):
        asleep(db)
        began = time.monotonic()
        db.execute(
            "insert into pgqueue.jobs (job_type) select 'nothing' from generate_series(1, 40)"
        )
        eventually(
            lambda: db.execute("select count(*) from pgqueue.finished").fetchall() == [(40,)],
            what="all jobs are done",
        )
        took = time.monotonic() - began

    assert took < SOON_SECONDS


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Of each claim that found something, whether it waited for its flush."""
    noted: list[object] = []
    original = Link.call

    async def note(self: Link, call: Any, **options: Any) -> Any:
        answer = await original(self, call, **options)
        if "pgqueue.claim(" in str(call.sql) and answer:
            noted.append(call.params[-1])
        return answer

    monkeypatch.setattr(Link, "call", note)
    return noted


@pytest.mark.parametrize(("after", "flush"), [(0.0, False), (60.0, True)])
def test_an_idle_workers_claims_wait_for_their_flush_only_soon_after_it_connected(
    dsn: str,
    db: Database,
    registry: Registry,
    flushed: list[object],
    monkeypatch: pytest.MonkeyPatch,
    *,
    after: float,
    flush: bool,
) -> None:
    """A job that brought the server down is met by a flushed claim: its attempt counts."""
    monkeypatch.setattr(exchange, "FLUSHED_SECONDS", after)
    with working(registry, dsn, poll_seconds=POLL_SECONDS):
        for _ in range(3):
            asleep(db)
            reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)

    assert flushed == [flush] * 3


def test_a_worker_that_polls_behind_a_pooler_always_waits_for_the_flush_of_its_claims(
    dsn: str,
    db: Database,
    registry: Registry,
    flushed: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its connection to the pooler outlives a crash of the server: it would not know of it."""
    monkeypatch.setattr(exchange, "FLUSHED_SECONDS", 0.0)
    with working(registry, dsn, pooler="yes", poll_seconds=0.1):
        for _ in range(3):
            reaches(db, enqueue(db, "nothing"), "succeeded", seconds=SOON_SECONDS)

    assert flushed == [True] * 3


def test_a_busy_workers_claims_wait_for_their_flush(
    dsn: str,
    db: Database,
    registry: Registry,
    flushed: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has more to do gains nothing, and a crash would repeat more."""
    monkeypatch.setattr(exchange, "FLUSHED_SECONDS", 0.0)
    db.execute("insert into pgqueue.jobs (job_type) select 'nothing' from generate_series(1, 5000)")
    asyncio.run(Worker(registry, dsn=dsn, concurrency=500, drain=True).run())

    assert len(flushed) > 1
    assert set(flushed) == {True}
