"""Real worker processes: killed, signalled, supervised."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import ConfigurationError, Registry, SchemaMismatch
from pgqueue.worker import Worker
from tests.support.psql import REPOSITORY
from tests.support.wait import eventually
from tests.support.workers import APP, attempts, enqueue, reaches, status, work_off, worker_process

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    Database = psycopg.Connection[Any]

GATES = ["task_gate", "thread_gate", "process_gate"]

registry = Registry()


@registry.job
async def nothing() -> None:
    """Succeed."""


def worker_of(db: Database) -> str:
    """Name of the worker that runs the only running job."""
    rows = db.execute(
        "select w.name from pgqueue.running r join pgqueue.workers w on w.id = r.worker_id"
    ).fetchall()
    return str(rows[0][0]) if rows else ""


@pytest.mark.parametrize("gate", GATES)
def test_the_jobs_of_a_killed_worker_run_elsewhere(
    dsn: str, db: Database, tmp_path: Path, gate: str
) -> None:
    """Kill -9 in the middle: another worker takes the job when the lease ends, as attempt 2."""
    path = tmp_path / "gate"
    started = tmp_path / "gate.started"
    with worker_process(dsn, tmp_path, name="first", lease_seconds=2.0) as first:
        job_id = enqueue(db, gate, gate=str(path))
        eventually(started.exists)
        started.unlink()
        with worker_process(dsn, tmp_path, name="second", lease_seconds=2.0):
            first.process.kill()
            eventually(started.exists, what="the second worker runs it")
            name = worker_of(db)
            path.touch()
            reaches(db, job_id, "succeeded")

    assert (name, attempts(db, job_id)) == ("second", ["lost"])


def test_a_child_process_does_not_outlive_its_killed_worker(
    dsn: str, db: Database, tmp_path: Path
) -> None:
    """Kill -9 of the worker ends the process that runs its handler, too."""
    with worker_process(dsn, tmp_path, lease_seconds=1.0) as worker:
        enqueue(db, "process_gate", gate=str(tmp_path / "gate"))
        eventually((tmp_path / "gate.started").exists)
        pid = int((tmp_path / "gate.started").read_text())
        alive = running(pid)
        worker.process.kill()

        assert alive
        eventually(lambda: not running(pid), what="the child ends")


def running(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    done = subprocess.run(
        ["/bin/ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_handlers_finish(
    dsn: str, db: Database, tmp_path: Path, number: signal.Signals
) -> None:
    """They end as they would have; nothing new is claimed; exit code 0."""
    gate = tmp_path / "gate"
    with worker_process(dsn, tmp_path) as worker:
        job_id = enqueue(db, "task_gate", gate=str(gate))
        eventually((tmp_path / "gate.started").exists)
        worker.process.send_signal(number)
        worker.says("worker stopping")
        late = enqueue(db, "nothing")
        gate.touch()
        code = worker.ends()

    assert (code, status(db, job_id), status(db, late)) == (0, "succeeded", "queued")
    assert worker_state(db) == "stopped"


@pytest.mark.parametrize("gate", [*GATES, "deaf_gate"])
def test_handlers_that_outlast_the_shutdown_give_their_jobs_back(
    dsn: str, db: Database, tmp_path: Path, gate: str
) -> None:
    """After shutdown_seconds they are stopped; the job goes back without using up its attempt."""
    with worker_process(dsn, tmp_path, shutdown_seconds=0.2) as worker:
        job_id = enqueue(db, gate, gate=str(tmp_path / "gate"))
        eventually((tmp_path / "gate.started").exists)
        worker.process.terminate()
        code = worker.ends()

    attempt = db.execute("select attempts from pgqueue.ready").fetchall()
    assert (code, status(db, job_id), attempts(db, job_id)) == (0, "queued", ["released"])
    assert attempt == [(0,)]


def test_a_second_signal_does_not_wait_for_handlers(dsn: str, db: Database, tmp_path: Path) -> None:
    """The job goes back at once and the exit code says which signal."""
    with worker_process(dsn, tmp_path, shutdown_seconds=60) as worker:
        job_id = enqueue(db, "thread_gate", gate=str(tmp_path / "gate"))
        eventually((tmp_path / "gate.started").exists)
        worker.process.terminate()
        worker.says("worker stopping")
        worker.process.terminate()
        code = worker.ends(seconds=10)

    assert (code, status(db, job_id), attempts(db, job_id)) == (143, "queued", ["released"])


def test_draining_by_an_operator_stops_a_worker(dsn: str, db: Database, tmp_path: Path) -> None:
    """It hears of it at its next heartbeat and ends with exit code 0."""
    with worker_process(dsn, tmp_path, lease_seconds=1.0) as worker:
        db.execute("select pgqueue.drain_worker(id) from pgqueue.workers")
        code = worker.ends()

    assert (code, worker_state(db)) == (0, "stopped")


def worker_state(db: Database) -> str:
    """What became of the only worker."""
    ((stopped, dead),) = db.execute(
        "select stopped_at is not null, dead_at is not null from pgqueue.workers"
    ).fetchall()
    return "stopped" if stopped else "dead" if dead else "alive"


def test_a_worker_stops_when_its_supervisor_is_gone(dsn: str, db: Database, tmp_path: Path) -> None:
    """The end of its standard input is the sign."""
    with worker_process(dsn, tmp_path) as worker:
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        code = worker.ends()

    assert (code, worker_state(db)) == (0, "stopped")
    assert worker.said.count("supervisor is gone") == 1


def supervise(dsn: str, **more: Any) -> subprocess.Popen[str]:
    """Start a supervisor of two workers in a process of its own."""
    arguments = {"processes": 2, "apps": [APP], "lease": 2.0, **more}
    program = (
        "import json, sys\n"
        "from pgqueue import log\n"
        "from pgqueue.worker import WorkerSettings, run_supervised\n"
        "log.configure('INFO')\n"
        "a = json.loads(sys.argv[1])\n"
        "settings = WorkerSettings(name='w', lease_seconds=a['lease'])\n"
        "sys.exit(run_supervised(a['apps'], settings=settings, processes=a['processes']))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(arguments)],
        env={**os.environ, "PGQUEUE_DSN": dsn},
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )


def pids(db: Database) -> list[int]:
    """Of the live workers."""
    rows = db.execute(
        "select (meta ->> 'pid')::integer from pgqueue.workers"
        " where stopped_at is null and dead_at is null order by id"
    )
    return [row[0] for row in rows]


def test_a_supervisor_replaces_a_killed_worker_and_passes_signals_on(
    dsn: str, db: Database
) -> None:
    """Two workers, one killed, two again; SIGTERM ends all with exit code 0."""
    supervisor = supervise(dsn)
    try:
        eventually(lambda: len(pids(db)) == 2)
        killed = pids(db)[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: len(pids(db)) == 2 and killed not in pids(db))
        supervisor.terminate()
        _, said = supervisor.communicate(timeout=30)
    finally:
        supervisor.kill()

    assert (supervisor.returncode, pids(db)) == (0, [])
    assert "killed_by=SIGKILL" in said


def test_sigterm_while_workers_start_ends_with_exit_code_0(dsn: str, db: Database) -> None:
    """A worker that is told to stop before it can handle that had nothing to finish."""
    supervisor = supervise(dsn)
    try:
        assert supervisor.stderr is not None
        started = [supervisor.stderr.readline() for _ in range(2)]
        supervisor.terminate()
        supervisor.communicate(timeout=30)
    finally:
        supervisor.kill()

    assert all("worker process started" in line for line in started)
    assert (supervisor.returncode, pids(db)) == (0, [])


def test_a_worker_that_waits_for_its_database_stops_with_exit_code_0(
    tmp_path: Path, unused_port: int
) -> None:
    """SIGTERM before the first connection: there is nothing to finish, and nothing failed."""
    nowhere = f"host=127.0.0.1 port={unused_port} dbname=nowhere"
    with worker_process(nowhere, tmp_path, until="waiting for the database") as worker:
        worker.process.terminate()
        code = worker.ends()

    assert code == 0
    assert "worker stopped" in worker.said


def test_workers_of_a_killed_supervisor_stop(dsn: str, db: Database) -> None:
    """Kill -9 of the supervisor leaves no worker behind."""
    supervisor = supervise(dsn)
    try:
        eventually(lambda: len(pids(db)) == 2)
        supervisor.kill()
        supervisor.communicate(timeout=30)

        eventually(lambda: pids(db) == [], what="the workers stop")
    finally:
        supervisor.kill()


def test_a_supervisor_gives_up_workers_that_cannot_start(empty_dsn: str) -> None:
    """Without the schema each exits with 6, and so does the supervisor, at once."""
    supervisor = supervise(empty_dsn)
    _, said = supervisor.communicate(timeout=60)

    assert SchemaMismatch.exit_code == supervisor.returncode
    assert "pgqueue migrate" in said
    assert said.count("worker process started") == 2


def test_a_supervisor_tries_a_broken_app_once(dsn: str) -> None:
    """Another try cannot help: exit code 2, and what it stops itself is not reported as killed."""
    supervisor = supervise(dsn, apps=["tests.no_such_app"])
    _, said = supervisor.communicate(timeout=60)

    assert ConfigurationError.exit_code == supervisor.returncode
    assert said.count("worker process started") == 2
    assert said.count("giving up") == 1
    assert "killed_by" not in said


def test_a_taken_health_port_is_refused_before_the_worker_registers(dsn: str, db: Database) -> None:
    """In one line, without a traceback of asyncio's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = Worker(registry, dsn=dsn, health_port=port, health_host="127.0.0.1")
        with pytest.raises(ConfigurationError) as refused:
            asyncio.run(worker.run())

    registered = db.execute("select count(*) from pgqueue.workers").fetchall()
    assert str(refused.value) == f"health port {port} of 127.0.0.1: address already in use"
    assert registered == [(0,)]


@pytest.mark.breaks_invariants
def test_a_worker_whose_schema_is_gone_stops(dsn: str, db: Database, tmp_path: Path) -> None:
    """With SchemaMismatch's exit code, and one line about it beside the last."""
    with worker_process(dsn, tmp_path, lease_seconds=2.0) as worker:
        # To the worker as if it were dropped, but no deadlock with what it does just then.
        db.execute("alter schema pgqueue rename to gone")
        code = worker.ends()

    errors = [line for line in worker.said.splitlines() if " ERROR " in line]
    assert SchemaMismatch.exit_code == code
    assert ["worker stopping" in line for line in errors] == [True, False]
    assert "worker cannot run" in errors[-1]
    assert "connection lost" not in worker.said


def test_a_worker_refuses_a_database_without_the_schema(empty_dsn: str) -> None:
    """With an error that says what to do, before it claims anything."""
    with pytest.raises(SchemaMismatch, match="pgqueue migrate"):
        asyncio.run(Worker(registry, dsn=empty_dsn).run())


def test_a_drained_worker_ends_when_the_queues_are_empty(dsn: str, db: Database) -> None:
    """Several queues, more jobs than slots: all are done before it ends."""
    db.execute(
        "insert into pgqueue.jobs (job_type, queue)"
        " select 'nothing', case when n % 2 = 0 then 'a' else 'b' end from generate_series(1, 99) n"
    )

    work_off(registry, dsn, queues=("a", "b"), concurrency=5)

    done = db.execute("select count(*) from pgqueue.finished where status = 'succeeded'").fetchall()
    assert done == [(99,)]


def test_health_is_answered_over_http(
    dsn: str, db: Database, tmp_path: Path, unused_port: int
) -> None:
    """/live and /ready say 200; /ready says 503 while the worker stops; other paths say 404."""
    base = f"http://127.0.0.1:{unused_port}"
    with worker_process(dsn, tmp_path, health_port=unused_port, health_host="127.0.0.1") as worker:
        eventually(lambda: fetch(f"{base}/ready")[0] == 200)
        live, missing = fetch(f"{base}/live"), fetch(f"{base}/other")
        _, ready = fetch(f"{base}/ready")
        enqueue(db, "task_gate", gate=str(tmp_path / "gate"))
        eventually((tmp_path / "gate.started").exists)
        worker.process.terminate()
        worker.says("worker stopping")
        stopping, _ = fetch(f"{base}/ready")
        (tmp_path / "gate").touch()
        worker.ends()

    assert (live[0], missing[0], stopping) == (200, 404, 503)
    assert json.loads(ready)["worker"] == "process"


def fetch(url: str) -> tuple[int, bytes]:
    """GET *url*."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read()
    except urllib.error.URLError:
        return 0, b""
