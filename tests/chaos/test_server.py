"""Faults of a server that is up: full, asleep, shut to workers, flooded, locked."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.chaos.machinery.stage import Stage, seconds_until
from tests.support.cluster import wanted_version
from tests.support.workers import attempts, enqueue, reaches, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Figure = Callable[[str, object], None]
    Database = psycopg.Connection[Any]

pytestmark = pytest.mark.scenario
LEASE = 4.0
POLL = 1.0
LOST = "database connection lost"
BACK = "database connection back"
SETTINGS: dict[str, str | int] = {"track_functions": "all", "max_connections": 30}


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A small server, and a login that is no superuser."""
    settings = dict(SETTINGS)
    if wanted_version() >= 17:
        settings["max_notify_queue_pages"] = 64
    with Stage(settings=settings) as stage:
        stage.db().execute("create role app login; grant pgqueue_worker, pgqueue_producer to app")
        yield stage


def worker_of(stage: Stage, name: str = "app", **options: Any) -> Any:
    """A worker that logs in as app."""
    options = {"lease_seconds": LEASE, "poll_seconds": POLL, **options}
    return stage.worker(name, dsn=stage.dsn(user="app"), **options)


def done_in(db: Database) -> float:
    """How long a job takes just now."""
    job = enqueue(db, "nothing")
    return seconds_until(lambda: status(db, job) == "succeeded", seconds=60)


def end_workers_sessions(db: Database) -> int:
    """Terminate them; how many."""
    return len(
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name like 'pgqueue %'"
        ).fetchall()
    )


def crowd(stage: Stage, held: ExitStack) -> int:
    """Take every connection that there is; how many."""
    count = 0
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            dsn = stage.dsn(user="app", connect_timeout=5)
            held.enter_context(psycopg.connect(dsn, autocommit=True))
            count += 1
    return count


def test_a_worker_keeps_its_lease_when_no_connection_is_left(
    stage: Stage, record_property: Figure
) -> None:
    """It has its own; thrown out as well, it waits, comes back, and starts no storm."""
    db = stage.db()
    worker = worker_of(stage)
    with ExitStack() as held:
        taken = crowd(stage, held)
        waits = [done_in(db) for _ in range(5)]
        time.sleep(LEASE * 1.5)
        kept = "given up" not in worker.said
        # Now the crowd gets its connections too.
        end_workers_sessions(db)
        seconds_until(lambda: crowd(stage, held))
        lines, began = worker.said.count("\n"), time.monotonic()
        time.sleep(8)
        per_minute = (worker.said.count("\n") - lines) / (time.monotonic() - began) * 60
        job = enqueue(db, "nothing")
    back = seconds_until(lambda: status(db, job) == "succeeded")
    record_property("connections taken by others", taken)
    record_property("longest wait of a job meanwhile", f"{max(waits):.2f} s")
    record_property("log lines per minute without any connection", f"{per_minute:.0f}")
    record_property("waiting job done after there was room", f"{back:.1f} s")

    assert kept
    assert worker.process.poll() is None
    assert per_minute <= 30


@pytest.mark.parametrize("role", ["worker", "doorbell", "control"])
def test_a_backend_that_is_stopped_is_given_up(
    stage: Stage, record_property: Figure, role: str
) -> None:
    """No packet is lost, no socket closed: only the worker's own deadline tells."""
    db = stage.db()
    worker = worker_of(stage)
    done_in(db)
    ((pid,),) = db.execute(
        "select pid from pg_stat_activity where application_name like %s", (f"pgqueue {role} %",)
    ).fetchall()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        job = enqueue(db, "nothing")
        seconds_until(lambda: LOST in worker.said)
        noticed = time.monotonic() - began
        seconds_until(lambda: status(db, job) == "succeeded")
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    record_property(f"stopped backend of {role} given up after", f"{noticed:.1f} s")
    record_property("job done after", f"{took:.1f} s")

    rows = db.execute("select attempt from pgqueue.finished where job_id = %s", (job,)).fetchall()
    assert rows == [(1,)]
    assert noticed <= 12


def test_a_backend_killed_resets_the_server_and_nothing_is_lost(
    stage: Stage, record_property: Figure
) -> None:
    """Kill -9 of one backend throws everybody out; the running job ends as its first attempt."""
    db = stage.db()
    worker = worker_of(stage, lease_seconds=20.0)
    gate = stage.directory / "gate"
    job = enqueue(db, "task_gate", gate=str(gate))
    seconds_until(lambda: status(db, job) == "running")
    ((pid,),) = db.execute("select pg_backend_pid()").fetchall()
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    seconds_until(lambda: db.broken or _fails(db))
    seconds_until(lambda: _answers(stage))
    server = time.monotonic() - began
    seconds_until(lambda: LOST in worker.said)
    seconds_until(lambda: BACK in worker.said)
    back = time.monotonic() - began
    gate.touch()
    again = stage.db()
    reaches(again, job, "succeeded")
    record_property("server back after; worker back after", f"{server:.1f} s; {back:.1f} s")

    assert attempts(again, job) == []


def test_workers_that_are_refused_wait_quietly(stage: Stage, record_property: Figure) -> None:
    """pg_hba.conf lets none in for 15 s: few lines in the log, and back by itself."""
    db = stage.db()
    worker = worker_of(stage)
    done_in(db)
    hba = stage.server.pgdata / "pg_hba.conf"
    usual = hba.read_bytes()
    try:
        hba.write_bytes(b"local all app reject\nhost all app all reject\n" + usual)
        db.execute("select pg_reload_conf()")
        lines = worker.said.count("\n")
        end_workers_sessions(db)
        seconds_until(lambda: LOST in worker.said)
        time.sleep(15)
        said = worker.said.count("\n") - lines
    finally:
        hba.write_bytes(usual)
        db.execute("select pg_reload_conf()")
    job = enqueue(db, "nothing")
    back = seconds_until(lambda: status(db, job) == "succeeded")
    record_property("log lines per minute while refused", said * 4)
    record_property("waiting job done after it is let in again", f"{back:.1f} s")

    assert worker.process.poll() is None
    assert said <= 6


def test_an_insert_never_fails_because_the_notify_queue_is_full(
    stage: Stage, record_property: Figure
) -> None:
    """A listener in a long transaction, the queue full to the brim: inserts go on, workers poll."""
    if wanted_version() < 17:
        pytest.skip("before PostgreSQL 17 the notify queue takes 8 GB: filling it takes minutes")
    db = stage.db()
    worker_of(stage)
    waits = [done_in(db)]
    with psycopg.connect(stage.dsn(), autocommit=True) as blocker:
        blocker.execute("listen noise")
        blocker.execute("begin")
        blocker.execute("select 1")
        usage = _fill(db)
        failed, began = 0, time.monotonic()
        for _ in range(100):
            try:
                db.execute("insert into pgqueue.jobs (job_type) values ('nothing')")
            except psycopg.Error:
                failed += 1
        seconds_until(
            lambda: db.execute("select count(*) from pgqueue.finished").fetchall() == [(101,)]
        )
        took = time.monotonic() - began
        waits += [done_in(db) for _ in range(5)]
    healed = seconds_until(
        lambda: db.execute("select pg_notification_queue_usage() < 0.5").fetchall() == [(True,)]
    )
    after = done_in(db)
    record_property("notify queue full, as the server says", f"{usage:.0%}")
    record_property("inserts failed of 100", failed)
    record_property("those 100 done after", f"{took:.1f} s")
    record_property(f"longest wait meanwhile (poll {POLL:g} s)", f"{max(waits):.2f} s")
    record_property(
        "queue empty after the listener left; wait then", f"{healed:.2f} s; {after:.2f} s"
    )

    assert failed == 0
    assert max(waits) <= POLL * 1.2 + 1


def test_forged_notifications_cost_a_bounded_number_of_claims(
    stage: Stage, record_property: Figure
) -> None:
    """Anybody may notify: a flood of rings makes a worker look often, not without bound."""
    db = stage.db()
    worker_of(stage, poll_seconds=5.0)
    done_in(db)
    over = threading.Event()
    sent = [0]

    def flood() -> None:
        with psycopg.connect(stage.dsn(user="app"), autocommit=True) as conn:
            while not over.is_set():
                with conn.pipeline():
                    for _ in range(50):
                        conn.execute("select pg_notify('pgqueue', 'ring *')")
                sent[0] += 50

    thread = threading.Thread(target=flood, daemon=True)
    before = _calls(stage)
    began = time.monotonic()
    thread.start()
    waits = [done_in(db) for _ in range(10)]
    time.sleep(3)
    over.set()
    thread.join(20)
    took = time.monotonic() - began
    claims = (_calls(stage) - before) / took
    record_property("forged notifications per second", f"{sent[0] / took:.0f}")
    record_property("claims per second", f"{claims:.0f}")
    record_property("longest wait of a job meanwhile", f"{max(waits):.2f} s")

    assert claims <= 150
    assert max(waits) < 1


def test_ddl_under_load_stalls_jobs_no_longer_than_it_takes(
    stage: Stage, record_property: Figure
) -> None:
    """ACCESS EXCLUSIVE for 3 s, VACUUM FULL, REINDEX of hot tables: workers wait, none gives up."""
    db = stage.db()
    worker = worker_of(stage)
    over = threading.Event()
    waits: list[float] = []

    def steady() -> None:
        with psycopg.connect(stage.dsn(), autocommit=True) as conn:
            while not over.is_set():
                began = time.monotonic()
                job = enqueue(conn, "nothing")
                seconds_until(lambda: status(conn, job) == "succeeded")  # noqa: B023  # used at once
                waits.append(time.monotonic() - began)

    thread = threading.Thread(target=steady, daemon=True)
    thread.start()
    seconds_until(lambda: len(waits) > 20)
    with db.transaction():
        db.execute("lock table pgqueue.ready in access exclusive mode")
        time.sleep(3)
    victims = 0
    for statement in ("vacuum full", "reindex table"):
        for table in ("ready", "running", "finished", "workers", "jobs"):
            victims += _insist(db, f"{statement} pgqueue.{table}")
    so_far = len(waits)
    seconds_until(lambda: len(waits) > so_far + 5)
    longest = max(waits)
    over.set()
    thread.join(20)
    record_property("longest wait, table locked for 3 s and repacked", f"{longest:.1f} s")
    record_property("jobs done meanwhile", len(waits))
    record_property("statements of the operator's that lost a deadlock", victims)

    assert "worker was given up" not in worker.said
    assert longest <= 6


def _insist(db: Database, statement: str) -> int:
    """Run a statement until it does not lose a deadlock; how often it did."""
    lost = 0
    while True:
        try:
            db.execute(statement)
        except psycopg.errors.DeadlockDetected:
            lost += 1
        else:
            return lost


def _fails(db: Database) -> bool:
    try:
        db.execute("select 1")
    except psycopg.OperationalError:
        return True
    return False


def _answers(stage: Stage) -> bool:
    try:
        with stage.server.connect("chaos") as conn:
            return not _fails(conn)
    except psycopg.OperationalError:
        return False


def _fill(db: Database) -> float:
    """Notify until the server refuses; how full it says that it was before the last."""
    usage = 0.0
    try:
        while True:
            ((usage,),) = db.execute("select pg_notification_queue_usage()").fetchall()
            db.execute("select pg_notify('noise', gen_random_uuid()::text || repeat('x', 7000))")
    except psycopg.errors.ProgramLimitExceeded:
        return usage


def _calls(stage: Stage) -> int:
    """How often workers have claimed, as the server counted."""
    with stage.server.connect("chaos") as conn:
        rows = conn.execute(
            "select sum(calls)::int from pg_stat_user_functions where funcname = 'claim'"
        ).fetchall()
        return int(rows[0][0] or 0)
