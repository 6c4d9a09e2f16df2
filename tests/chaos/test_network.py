"""Lines that go dead without a word: when a worker notices, and who does its work meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.machinery.namespace import NETWORK, Namespace
from tests.chaos.machinery.proxy import Proxy
from tests.chaos.machinery.stage import Stage, seconds_until
from tests.support.workers import attempts, enqueue, reaches, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Figure = Callable[[str, object], None]

LEASE = 4.0
POLL = 1.0

pytestmark = pytest.mark.scenario


@pytest.fixture
def space() -> Iterator[Namespace]:
    """A network namespace."""
    reason = Namespace.missing()
    if reason is not None:
        pytest.skip(reason)
    with Namespace() as space:
        yield space


@pytest.fixture
def stage(space: Namespace) -> Iterator[Stage]:
    """A server that listens in the namespace's network."""
    stage = Stage(listen=f"127.0.0.1,{space.address}")
    stage.server.create()
    with (stage.server.pgdata / "pg_hba.conf").open("a", encoding="ascii") as hba:
        hba.write(f"host all all {NETWORK} trust\n")
    with stage:
        yield stage


def inside(stage: Stage, space: Namespace, name: str = "inside", **options: Any) -> Any:
    """A worker in the namespace."""
    dsn = stage.dsn(host=space.address)
    return stage.worker(name, dsn=dsn, wrapper=space.wrapper, lease_seconds=LEASE, **options)


def test_a_pulled_cable_is_noticed_and_the_job_runs_elsewhere(
    stage: Stage, space: Namespace, record_property: Figure
) -> None:
    """The worker stops its handler before its lease ends; the job goes to the other worker."""
    db = stage.db()
    gate = stage.directory / "gate"
    cut_off = inside(stage, space)
    job = enqueue(db, "task_gate", gate=str(gate))
    seconds_until(lambda: status(db, job) == "running")
    other = stage.worker("outside", lease_seconds=LEASE)
    with space.black_hole():
        began = time.monotonic()
        noticed = seconds_until(lambda: "database connection lost" in cut_off.said)
        seconds_until(lambda: "lease is ending without a heartbeat" in cut_off.said)
        stopped = time.monotonic() - began
        seconds_until(lambda: attempts(db, job) == ["lost"])
        rescued = time.monotonic() - began
        gate.touch()
        reaches(db, job, "succeeded", seconds=30)
        again = time.monotonic() - began
    back = seconds_until(lambda: cut_off.said.count("worker registered") == 2)
    ((token_of,),) = db.execute(
        "select w.name from pgqueue.finished f join pgqueue.workers w on w.id = f.worker_id"
        " where f.job_id = %s",
        (job,),
    ).fetchall()
    record_property("outage noticed after", f"{noticed:.1f} s")
    record_property(f"handler stopped after (lease {LEASE:g} s)", f"{stopped:.1f} s")
    record_property("job rescued after", f"{rescued:.1f} s")
    record_property("finished elsewhere after", f"{again:.1f} s")
    record_property("back after the cable", f"{back:.1f} s")

    assert other.process.poll() is None
    assert stopped < rescued
    assert noticed <= LEASE / 2 + 1
    assert token_of == "outside"


def test_an_idle_worker_notices_a_pulled_cable_by_its_heartbeat(
    stage: Stage, space: Namespace, record_property: Figure
) -> None:
    """Nothing is under way: within two heartbeats it knows, and it is back soon."""
    db = stage.db()
    worker = inside(stage, space)
    reaches(db, enqueue(db, "nothing"), "succeeded")
    with space.black_hole():
        noticed = seconds_until(lambda: "database connection lost" in worker.said)
        job = enqueue(db, "nothing")
    done = seconds_until(lambda: status(db, job) == "succeeded")
    record_property("outage noticed after", f"{noticed:.1f} s")
    record_property("waiting job done after the cable", f"{done:.1f} s")

    assert noticed <= LEASE / 2 + 1


@pytest.fixture
def behind() -> Iterator[tuple[Stage, Proxy]]:
    """A server and a proxy in front of it."""
    with Stage() as stage, Proxy(stage.dsn()) as proxy:
        yield stage, proxy


def test_a_dead_doorbell_delays_jobs_by_the_poll_and_its_deadline(
    behind: tuple[Stage, Proxy], record_property: Figure
) -> None:
    """The LISTEN connection swallows everything: given up after 2 s, jobs are found by polling."""
    stage, proxy = behind
    db = stage.db()
    worker = stage.worker("deaf", dsn=proxy.dsn, lease_seconds=LEASE, poll_seconds=POLL)
    reaches(db, enqueue(db, "nothing"), "succeeded")
    swallowed = proxy.swallow("pgqueue doorbell")
    began, noticed, waits = time.monotonic(), None, list[float]()
    while noticed is None or len(waits) < 10:
        job = enqueue(db, "nothing")
        waits.append(
            seconds_until(lambda job=job: status(db, job) == "succeeded")  # type: ignore[misc]
        )
        if noticed is None and "database connection lost" in worker.said:
            noticed = time.monotonic() - began
    record_property("dead doorbell noticed after", f"{noticed:.1f} s")
    record_property(f"longest wait of {len(waits)} jobs (poll {POLL:g} s)", f"{max(waits):.1f} s")

    assert swallowed == 1
    assert max(waits) <= POLL * 1.2 + 2.5


@pytest.mark.parametrize("role", ["worker", "control"])
def test_a_call_that_gets_no_answer_is_given_up(
    behind: tuple[Stage, Proxy], record_property: Figure, role: str
) -> None:
    """What the lost claim moved goes back and runs; no attempt is used up."""
    stage, proxy = behind
    db = stage.db()
    worker = stage.worker("mute", dsn=proxy.dsn, lease_seconds=LEASE, poll_seconds=POLL)
    reaches(db, enqueue(db, "nothing"), "succeeded")
    swallowed = proxy.swallow(f"pgqueue {role}", "down")
    job = enqueue(db, "nothing")
    began = time.monotonic()
    seconds_until(lambda: "database connection lost" in worker.said)
    noticed = time.monotonic() - began
    reaches(db, job, "succeeded", seconds=30)
    done = time.monotonic() - began
    record_property(f"unanswered call of {role} given up after", f"{noticed:.1f} s")
    record_property("job done after", f"{done:.1f} s")

    rows = db.execute("select attempt from pgqueue.finished where job_id = %s", (job,)).fetchall()
    assert swallowed == 1
    assert noticed <= 12
    assert rows == [(1,)]


def test_the_session_of_a_worker_that_vanished_ends(
    stage: Stage, space: Namespace, record_property: Figure
) -> None:
    """Its machine is gone without a farewell: its doorbell session, and the door, are freed."""
    db = stage.db()
    worker = inside(stage, space, name="gone")
    sessions = "select count(*) from pg_stat_activity where client_addr << %s"
    with space.black_hole():
        worker.process.kill()
        worker.ends()
        stage.worker("heir", lease_seconds=LEASE, poll_seconds=POLL)
        waits = []
        for _ in range(5):
            job = enqueue(db, "nothing")
            waits.append(
                seconds_until(lambda job=job: status(db, job) == "succeeded")  # type: ignore[misc]
            )
        left = seconds_until(
            lambda: db.execute(sessions, (NETWORK,)).fetchall() == [(0,)], seconds=90
        )
    record_property("longest wait behind a door held by a dead session", f"{max(waits):.1f} s")
    record_property("server session freed after", f"{left:.0f} s")

    assert max(waits) <= POLL * 1.2 + 1
