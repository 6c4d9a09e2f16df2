"""Lost connections, lost replies, lost leases: the worker goes on, and no job is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgqueue import DatabaseUnavailable, JobContext, Registry, handling
from pgqueue.worker import transaction
from pgqueue.worker.link import Link
from tests.support import handlers
from tests.support.wait import eventually
from tests.support.workers import attempts, enqueue, reaches, status, working

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Connect
    from tests.support.cluster import Cluster

    Database = psycopg.Connection[Any]

ROLES = ["worker", "control", "doorbell"]


def cut(db: Database, role: str) -> int:
    """End the server's side of the workers' connections of this role."""
    return len(
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name like %s and datname = current_database()",
            (f"pgqueue {role} %",),
        ).fetchall()
    )


def connected(db: Database, role: str) -> bool:
    """Whether the workers have a connection of this role."""
    rows = db.execute(
        "select from pg_stat_activity where application_name like %s"
        " and datname = current_database()",
        (f"pgqueue {role} %",),
    ).fetchall()
    return bool(rows)


@pytest.fixture
def steps() -> tuple[Registry, threading.Semaphore, threading.Event]:
    """A handler that says that it runs, and waits."""
    registry = Registry()
    began, go = threading.Semaphore(0), threading.Event()

    @registry.job
    def wait(ctx: JobContext) -> None:
        began.release()
        while not go.wait(0.01):
            ctx.check_cancelled()

    @registry.job
    async def nothing() -> None: ...

    return registry, began, go


@pytest.mark.parametrize("role", ROLES)
def test_a_cut_connection_is_replaced(
    dsn: str,
    db: Database,
    steps: tuple[Registry, threading.Semaphore, threading.Event],
    role: str,
) -> None:
    """The running job finishes as its first attempt, and the next one is found soon."""
    registry, began, go = steps
    with working(registry, dsn, poll_seconds=1, lease_seconds=2.0):
        running = enqueue(db, "wait")
        assert began.acquire(timeout=20)
        eventually(lambda: connected(db, role))
        gone = cut(db, role)
        go.set()
        reaches(db, running, "succeeded")
        reaches(db, enqueue(db, "nothing"), "succeeded")
        eventually(lambda: connected(db, role), what=f"connection {role} is back")

    assert gone == 1
    assert attempts(db, running) == []


def test_all_connections_may_be_cut_at_any_time(dsn: str, db: Database) -> None:
    """200 jobs while every connection is cut again and again: each succeeds exactly once."""
    db.execute("create table public.written (job_id uuid)")
    db.execute("update pgqueue.settings set backoff_base = '1 ms', backoff_cap = '100 ms'")
    db.execute(
        "insert into pgqueue.jobs (job_type, max_attempts)"
        " select case n % 2 when 0 then 'nothing' else 'write_in_task' end, 1000"
        " from generate_series(1, 200) n"
    )
    finished = "select count(*) from pgqueue.finished"
    cut_at = [0]
    with working(handlers.jobs, dsn, poll_seconds=0.2, lease_seconds=5.0, concurrency=4):

        def all_done() -> bool:
            ((count,),) = db.execute(finished).fetchall()
            if count >= cut_at[0]:
                cut_at[0] = count + 20
                for role in [*ROLES, "handler"]:
                    cut(db, role)
            return bool(count == 200)

        eventually(all_done, seconds=60, what="all jobs are done")

    rows = db.execute("select status, count(*) from pgqueue.finished group by status").fetchall()
    written = db.execute("select count(*), count(distinct job_id) from public.written").fetchall()
    assert (rows, written) == ([("succeeded", 200)], [(100, 100)])


@pytest.mark.parametrize("job_type", ["nothing", "in_task"])
def test_a_claim_whose_reply_is_lost_strands_nothing(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch, job_type: str
) -> None:
    """What the lost claim moved goes back without using up an attempt, and runs."""
    original = Link.call
    lost: list[int] = []

    async def lose_one(self: Link, call: Any, **options: Any) -> Any:
        answer = await original(self, call, **options)
        if not lost and "pgqueue.claim(" in str(call.sql) and answer:
            lost.append(len(answer))
            self.lost(DatabaseUnavailable("cut by the test"))
            raise DatabaseUnavailable("cut by the test")
        return answer

    monkeypatch.setattr(Link, "call", lose_one)
    ids = [enqueue(db, job_type, **({"word": "x"} if job_type == "in_task" else {})) for _ in "abc"]

    with working(handlers.jobs, dsn):
        for job_id in ids:
            reaches(db, job_id, "succeeded")

    rows = db.execute(
        "select distinct attempt from pgqueue.finished where job_id = any(%s)", (ids,)
    ).fetchall()
    assert (lost, rows) == ([3], [(1,)])
    assert [attempts(db, job_id) for job_id in ids] == [["released"]] * 3


def test_a_report_whose_reply_is_lost_is_repeated_without_harm(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job stays finished, once."""
    original = Link.call
    lost: list[str] = []

    async def lose_one(self: Link, call: Any, **options: Any) -> Any:
        answer = await original(self, call, **options)
        reports = "pgqueue.exchange(" in str(call.sql) or "pgqueue.report(" in str(call.sql)
        if not lost and reports:
            lost.append("report")
            self.lost(DatabaseUnavailable("cut by the test"))
            raise DatabaseUnavailable("cut by the test")
        return answer

    monkeypatch.setattr(Link, "call", lose_one)
    job_id = enqueue(db, "nothing")

    with working(handlers.jobs, dsn):
        eventually(lambda: lost)
        reaches(db, enqueue(db, "nothing"), "succeeded")

    assert (status(db, job_id), attempts(db, job_id)) == ("succeeded", [])


def test_a_lost_reply_to_commit_does_not_repeat_the_work(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit happened: the report of the doubt is refused, and the job stays finished."""
    db.execute("create table public.written (job_id uuid)")
    original = handling.success
    connections: list[Any] = []

    def remember(context: Any, result: object) -> Any:
        if context is not None:
            connections.append(context.connection)
        return original(context, result)

    def cut_after_commit(place: str) -> None:
        if place == "before_commit":
            conn = connections[-1]
            wait = conn.wait

            async def committed(gen: Any, *args: Any, **kwargs: Any) -> Any:
                await wait(gen, *args, **kwargs)
                conn.pgconn.finish()
                raise psycopg_error("the reply was lost")

            conn.wait = committed

    monkeypatch.setattr(handling, "success", remember)
    monkeypatch.setattr(transaction, "reach", cut_after_commit)
    job_id = enqueue(db, "write_in_task")

    with working(handlers.jobs, dsn):
        reaches(db, job_id, "succeeded")
        reaches(db, enqueue(db, "nothing"), "succeeded")

    written = db.execute("select job_id from public.written").fetchall()
    assert (written, status(db, job_id)) == ([(job_id,)], "succeeded")
    assert attempts(db, job_id) == []


def psycopg_error(message: str) -> Exception:
    """What psycopg raises when the connection is gone."""
    return psycopg.OperationalError(message)


def test_a_worker_that_was_given_up_begins_again(
    dsn: str,
    db: Database,
    steps: tuple[Registry, threading.Semaphore, threading.Event],
) -> None:
    """Its handlers stop, it registers as somebody new, and runs the job again as attempt 2."""
    registry, began, go = steps
    with working(registry, dsn, lease_seconds=2.0, poll_seconds=1):
        job_id = enqueue(db, "wait")
        assert began.acquire(timeout=20)
        db.execute("update pgqueue.workers set dead_at = clock_timestamp()")
        assert began.acquire(timeout=20), "it does not run again"
        go.set()
        reaches(db, job_id, "succeeded")

    ids = db.execute("select count(*), count(distinct instance) from pgqueue.workers").fetchall()
    assert (ids, attempts(db, job_id)) == ([(2, 2)], ["lost"])


def test_handlers_stop_before_the_lease_ends(
    dsn: str,
    db: Database,
    connect: Connect,
    steps: tuple[Registry, threading.Semaphore, threading.Event],
) -> None:
    """Heartbeats do not get through: the handlers are stopped while the lease still runs."""
    registry, began, go = steps
    with working(registry, dsn, lease_seconds=4.0):
        job_id = enqueue(db, "wait")
        assert began.acquire(timeout=20)
        blocker = connect(autocommit=False)
        blocker.execute("select from pgqueue.workers for update")
        released = "select from pgqueue.attempts where outcome = 'released'"
        eventually(lambda: db.execute(released).fetchall(), what="the handler was stopped")
        ((left,),) = db.execute(
            "select extract(epoch from a.ended_at - w.heartbeat_at)::double precision"
            " from pgqueue.attempts a join pgqueue.workers w on w.id = a.worker_id"
        ).fetchall()
        blocker.rollback()
        go.set()
        reaches(db, job_id, "succeeded")

    assert left < 4.0


def test_an_ending_that_waits_for_a_lock_holds_up_nobody_else(
    dsn: str,
    db: Database,
    connect: Connect,
    steps: tuple[Registry, threading.Semaphore, threading.Event],
    tmp_path: Path,
) -> None:
    """A session that locks one running row delays that job's report, not the others' for good."""
    registry, began, go = steps
    with working(registry, dsn, lease_seconds=60):
        stuck = enqueue(db, "wait")
        assert began.acquire(timeout=20)
        blocker = connect(autocommit=False)
        blocker.execute("select from pgqueue.running for update")
        go.set()
        reaches(db, enqueue(db, "nothing"), "succeeded", seconds=40)
        blocker.rollback()
        reaches(db, stuck, "succeeded", seconds=40)


def test_server_processes_that_hang_are_given_up(
    dsn: str, db: Database, cluster: Cluster, tmp_path: Path
) -> None:
    """No reply and no error, as from a paused machine: only the worker's own deadlines notice."""
    if cluster.server is None:
        pytest.skip("the server is not ours to stop parts of")
    gate = tmp_path / "gate"
    with working(handlers.jobs, dsn, lease_seconds=4.0, poll_seconds=1.0):
        job_id = enqueue(db, "task_gate", gate=str(gate))
        eventually((tmp_path / "gate.started").exists)
        pids = [
            pid
            for (pid,) in db.execute(
                "select pid from pg_stat_activity where application_name like 'pgqueue %'"
                " and datname = current_database()"
            )
        ]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            gate.touch()
            reaches(db, job_id, "succeeded", seconds=40)
            reaches(db, enqueue(db, "nothing"), "succeeded", seconds=40)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    assert len(pids) == len(ROLES)


def test_a_worker_stops_during_an_outage(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Within its shutdown_seconds and a few seconds, database or no database."""
    original = Link.call
    away = threading.Event()

    async def call(self: Link, call: Any, **options: Any) -> Any:
        if away.is_set():
            self.lost(DatabaseUnavailable("gone"))
            raise DatabaseUnavailable("gone")
        return await original(self, call, **options)

    monkeypatch.setattr(Link, "call", call)
    gate = tmp_path / "gate"
    with working(handlers.jobs, dsn, shutdown_seconds=1.0) as threaded:
        job_id = enqueue(db, "task_gate", gate=str(gate))
        eventually((tmp_path / "gate.started").exists)
        away.set()
        began = time.monotonic()
        threaded.worker.stop()
        threaded.join()
        took = time.monotonic() - began

    assert took < 15
    assert status(db, job_id) == "running"
