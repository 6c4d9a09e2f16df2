"""A stage for a demo: a server, a database with the schema and one application, and a worker."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from pgqueue import calls
from pgqueue.calls import Call
from pgqueue.calls.job_status import FINISHED
from pgqueue.connection import connect
from pgqueue.demo.process import worker_process
from pgqueue.demo.shell import Shell, find_psql
from pgqueue.demo.telling import say, step
from pgqueue.dsn import describe_dsn, find_dsn
from pgqueue.embedded import DEFAULT_VERSION, EmbeddedServer, default_data_dir
from pgqueue.errors import ConfigurationError, PgqueueError, WaitTimeout
from pgqueue.migrate import migrate
from pgqueue.migrate_app import migrate_app
from pgqueue.scratch import scratch_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

    from pgqueue.applications import Application
    from pgqueue.calls.core import Row
    from pgqueue.demo.process import WorkerProcess

__all__ = ["Job", "Stage", "open_stage"]

WORK_SECONDS = 120.0
START_SECONDS = 60.0
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """How one job fares."""

    job_type: str
    status: str
    progress: float
    message: str | None
    errors: list[dict[str, Any]]
    metrics: dict[str, Any]
    result: Any

    def __str__(self) -> str:
        if self.status != "running" or not self.message:
            return f"{self.job_type} {self.status}"
        return f"{self.job_type} {self.progress:.0f} % ({self.message})"


@dataclass(frozen=True, slots=True)
class Stage:
    """
    What a demo plays on.

    Attributes:
        app: The application; its SQL is installed.
        shell: Runs statements on the database, and shows them and their answers.
    """

    app: Application
    shell: Shell

    @property
    def dsn(self) -> str:
        """The demo's own database; psql's variables and pgqueue's take it."""
        return self.shell.dsn

    @contextmanager
    def working(self, environment: Mapping[str, str] | None = None) -> Iterator[WorkerProcess]:
        """
        Run a worker process of the application.

        Args:
            environment: More variables for it.

        Raises:
            PgqueueError: It did not start, or did not stop by itself after SIGTERM.
        """
        with worker_process(
            self.app.module, self.dsn, folder=self.app.root, environment=environment
        ) as worker:
            with step(f"Start a worker process: {' '.join(worker.command)}"):
                self._wait_for(worker)
            yield worker
            with step("Stop the worker with SIGTERM: it finishes what it runs"):
                worker.stop()

    def show(self, name: str) -> None:
        """
        Run the statements of the application's file sql/shown/NAME.sql and print what they answer.

        Empty lines divide them; a comment line above a statement is its title.
        """
        text = (self.app.folder / "sql" / "shown" / f"{name}.sql").read_text("utf-8")
        for number, part in enumerate(text.split("\n\n")):
            first, _, rest = part.strip().partition("\n")
            if first.startswith("-- "):
                # What was shown before it has left an empty line; a step's title has not.
                say(f"    {first}" if number else f"\n    {first}")
                self.shell.show(rest)
            else:
                self.shell.show(part)

    def wait(self, worker: WorkerProcess, *, earlier: int = 0) -> list[Job]:
        """
        Wait until all jobs but the *earlier* ones have finished; return them, oldest first.

        Raises:
            WaitTimeout: They did not.
            PgqueueError: The worker ended.
        """
        began, told = time.monotonic(), ""
        with connect(self.dsn, application_name="pgqueue demo") as connection:
            while True:
                jobs = calls.run(connection, _LOOK)[earlier:]
                text = ", ".join(str(job) for job in jobs)
                if text != told:
                    say(f"    {time.monotonic() - began:5.1f} s  {text}")
                    told = text
                # A follow-up commits with the job that wants it: there is no gap to look into.
                if all(job.status in FINISHED for job in jobs):
                    return jobs
                worker.check()
                if time.monotonic() - began > WORK_SECONDS:
                    raise WaitTimeout(
                        f"the jobs did not finish within {WORK_SECONDS:g} s: {text}"
                        f"\n{worker.tail()}"
                    )
                time.sleep(_PAUSE_SECONDS)

    def _wait_for(self, worker: WorkerProcess) -> None:
        registered = Call("select id from pgqueue.worker_status where status = 'alive'", (), len)
        deadline = time.monotonic() + START_SECONDS
        with connect(self.dsn, application_name="pgqueue demo") as connection:
            while not calls.run(connection, registered):
                worker.check()
                if time.monotonic() > deadline:
                    raise WaitTimeout(
                        f"no worker registered within {START_SECONDS:g} s\n{worker.tail()}"
                    )
                time.sleep(_PAUSE_SECONDS)


def _jobs(rows: Sequence[Row]) -> list[Job]:
    return [
        Job(job_type, status, progress, message, errors or [], metrics or {}, result)
        for job_type, status, progress, message, errors, metrics, result in rows
    ]


_LOOK = Call(
    "select job_type, status, progress, progress_message, errors, metrics, result"
    " from pgqueue.job_status order by id",
    (),
    _jobs,
)


@contextmanager
def open_stage(app: Application, dsn: str | None = None, *, keep: bool = False) -> Iterator[Stage]:
    """
    Open one; at the end the invariants are checked, and what was started is removed.

    Args:
        app: Whose SQL to install.
        dsn: A server to use; else PGQUEUE_DSN or PG*, else an embedded one.
        keep: Leave the database, and an embedded server, for a look around.

    Raises:
        PgqueueError: A step failed; what was started is stopped and removed all the same.
    """
    began = time.monotonic()
    with _sigterm_unwinds(), ExitStack() as stack:
        base = _open_server(stack, dsn, keep=keep)
        shell = Shell(_open_database(stack, base, app, keep=keep), find_psql())
        yield Stage(app, shell)
        with step("Check the invariants of all tables: select * from pgqueue.verify()"):
            _check_invariants(shell.dsn)
        if keep:
            say(f'\n==> Kept. Look around with: {shell.psql or "psql"} "{shell.conninfo}"')
    say(f"\n==> The demo took {time.monotonic() - began:.1f} s")


def _open_server(stack: ExitStack, dsn: str | None, *, keep: bool) -> str:
    try:
        named = find_dsn(dsn)
    except ConfigurationError:
        named = None
    if named is not None:
        say(f"==> Use the server that is named: {describe_dsn(named)}")
        return named
    server = EmbeddedServer(default_data_dir(DEFAULT_VERSION) if keep else None)
    kind = "kept" if keep else "temporary"
    with step(f"Start an embedded PostgreSQL {server.binaries.version} ({kind}, no TCP port)"):
        server.start()
    if not keep:
        stack.callback(_stop, server)
    return server.dsn()


def _stop(server: EmbeddedServer) -> None:
    with step("Stop the server and remove it"):
        server.stop()


def _open_database(stack: ExitStack, base: str, app: Application, *, keep: bool) -> str:
    with step("Create a database of the demo's own; it is dropped at the end"):
        dsn = stack.enter_context(scratch_database(base, prefix="pgqueue_demo", keep=keep))
    with step("Install the schema pgqueue, as `pgqueue migrate` does"):
        done = migrate(dsn)
        say(f"    version {done.version}, {len(done.changes)} objects")
    with step(f"Install the application's own SQL: pgqueue migrate --app {app.module}"):
        for line in migrate_app(app, dsn).lines():
            say(f"    {line}")
    return dsn


def _check_invariants(dsn: str) -> None:
    with connect(dsn) as connection:
        found = calls.run(connection, calls.verify())
    if found:
        raise PgqueueError(f"pgqueue.verify() reports {found}")
    say("    (0 rows)")


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Make SIGTERM clean up as Ctrl-C does; elsewhere than in the main thread, nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _unwind(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
