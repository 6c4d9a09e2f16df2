"""Workers in the test's own process and in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgqueue.worker import Worker, WorkerSettings
from tests.support.psql import REPOSITORY
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import psycopg

    from pgqueue import Registry

STOP_SECONDS = 30.0
APP = "tests.support.handlers:jobs"


class Threaded:
    """A worker in a thread of the test's process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.exit_code: int | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def join(self) -> None:
        """Wait until it has stopped; raises what it raised."""
        self.thread.join(STOP_SECONDS)
        assert not self.thread.is_alive(), "the worker does not stop"
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self.exit_code = asyncio.run(self.worker.run())
        except BaseException as exc:
            self.error = exc


@contextmanager
def working(registry: Registry, dsn: str, **options: Any) -> Iterator[Threaded]:
    """
    Run a worker until the block ends.

    Args:
        registry: Its handlers.
        dsn: Its database.
        options: As Worker takes them.
    """
    threaded = Threaded(Worker(registry, dsn=dsn, **{"shutdown_seconds": 5, **options}))
    threaded.thread.start()
    try:
        yield threaded
    finally:
        threaded.worker.stop()
        threaded.join()


def work_off(registry: Registry, dsn: str, **options: Any) -> None:
    """Run a worker until the queues are empty."""
    assert asyncio.run(Worker(registry, dsn=dsn, drain=True, **options).run()) == 0


class WorkerProcess:
    """A worker in a process of its own, as a supervisor starts it; what it logs goes to a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def said(self) -> str:
        """What it has logged."""
        return self.log.read_text()

    def says(self, text: str, *, seconds: float = 20.0) -> None:
        """Wait until it has logged *text*."""
        eventually(
            lambda: text in self.said or self.process.poll() is not None,
            seconds=seconds,
            what=f"worker says {text!r}",
        )
        assert text in self.said, self.said

    def ends(self, *, seconds: float = STOP_SECONDS) -> int:
        """Wait until it has ended; its exit status."""
        return self.process.wait(seconds)


@contextmanager
def worker_process(
    dsn: str,
    tmp: Path,
    *,
    app: str = APP,
    more_apps: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    until: str = "worker registered",
    wrapper: Sequence[str] = (),
    **options: Any,
) -> Iterator[WorkerProcess]:
    """
    Start one, wait until it works, kill it at the end.

    Args:
        dsn: Its database.
        tmp: Where its log goes.
        app: The module of its handlers.
        more_apps: Modules of further handlers.
        environment: More variables.
        until: What it logs when it works.
        wrapper: Put before the command, for example to enter a network namespace.
        options: As WorkerSettings takes them.
    """
    options.setdefault("name", "process")
    spec = {
        "apps": [app, *more_apps],
        "settings": WorkerSettings(**options).to_json(),
        "log_level": "INFO",
        "log_json": False,
    }
    path = tmp / f"{options['name']}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "pgqueue.worker", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stderr=log,
            cwd=REPOSITORY,
            env={**os.environ, "PGQUEUE_DSN": dsn, **(environment or {})},
            start_new_session=True,
        )
    worker = WorkerProcess(process, path)
    try:
        worker.says(until)
        yield worker
    finally:
        process.kill()
        process.wait(STOP_SECONDS)
        assert process.stdin is not None
        process.stdin.close()


def enqueue(db: psycopg.Connection[Any], job_type: str, **payload: Any) -> Any:
    """Insert a job; returns its id."""
    row = db.execute(
        "insert into pgqueue.jobs (job_type, payload) values (%s, %s::jsonb) returning id",
        (job_type, json.dumps(payload)),
    ).fetchone()
    assert row is not None
    return row[0]


def status(db: psycopg.Connection[Any], job_id: Any) -> str:
    """The job's status, as the view shows it."""
    row = db.execute("select status from pgqueue.job_status where id = %s", (job_id,)).fetchone()
    assert row is not None
    return str(row[0])


def reaches(db: psycopg.Connection[Any], job_id: Any, wanted: str, *, seconds: float = 20) -> None:
    """Wait until the job has this status."""
    eventually(lambda: status(db, job_id) == wanted, seconds=seconds, what=f"job {job_id} {wanted}")


def attempts(db: psycopg.Connection[Any], job_id: Any) -> list[str]:
    """How the job's earlier attempts ended, oldest first."""
    rows = db.execute(
        "select outcome from pgqueue.attempts where job_id = %s order by token", (job_id,)
    )
    return [row[0] for row in rows]
