"""The demo, step by step."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pgqueue import calls
from pgqueue.calls import Call
from pgqueue.calls.producer import FINISHED
from pgqueue.connection import connect
from pgqueue.demo.process import WorkerProcess, worker_process
from pgqueue.demo.shell import Shell, find_psql
from pgqueue.demo.telling import say, step
from pgqueue.dsn import describe_dsn, find_dsn
from pgqueue.embedded import DEFAULT_VERSION, EmbeddedServer, default_data_dir
from pgqueue.errors import ConfigurationError, PgqueueError, WaitTimeout
from pgqueue.migrate import migrate
from pgqueue.scratch import scratch_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["run"]

WORK_SECONDS = 120.0
START_SECONDS = 60.0
_PAUSE_SECONDS = 0.1
_PACKAGE = Path(__file__).resolve().parents[1]


def run(dsn: str | None = None, *, keep: bool = False) -> None:
    """
    Run the demo and print what happens.

    Args:
        dsn: A server to use; else PGQUEUE_DSN or PG*, else an embedded one.
        keep: Leave the database, and an embedded server, for a look around.

    Raises:
        PgqueueError: A step failed; what was started is stopped and removed all the same.
        KeyboardInterrupt: Ctrl-C; as above.
    """
    began = time.monotonic()
    app = _find_application()
    with _sigterm_unwinds(), ExitStack() as stack:
        base = _open_server(stack, dsn, keep=keep)
        shell = Shell(_open_database(stack, base, app, keep=keep), find_psql())
        with _working(app, shell.dsn) as worker:
            earlier = _first_round(app, shell, worker)
            _second_round(app, shell, worker, earlier=earlier)
            with step("Stop the worker with SIGTERM: it finishes what it runs"):
                worker.stop()
        with step("Check the invariants of all tables: select * from pgqueue.verify()"):
            _check_invariants(shell.dsn)
        if keep:
            say(f'\n==> Kept. Look around with: {shell.psql or "psql"} "{shell.conninfo}"')
    say(f"\n==> The demo took {time.monotonic() - began:.1f} s")


@dataclass(frozen=True, slots=True)
class Application:
    """
    The handlers of the demo, and their SQL.

    Attributes:
        module: As `pgqueue worker --app` takes it.
        folder: Inside the installed package, or in a checkout.
        root: From where the module can be imported.
    """

    module: str
    folder: Path
    root: Path

    def sql(self, name: str) -> str:
        """One of its files."""
        return (self.folder / "sql" / f"{name}.sql").read_text("utf-8")

    def statements(self, name: str) -> list[tuple[str, str]]:
        """Pairs of title and statement: a comment line, then the statement, then an empty line."""
        parts = [part.strip().partition("\n") for part in self.sql(name).split("\n\n")]
        return [(title.removeprefix("-- "), statement) for title, _, statement in parts]


def _find_application() -> Application:
    root = _PACKAGE.parent
    for module, folder in (
        ("pgqueue.demo_app", _PACKAGE / "demo_app"),
        ("workers.demo", root / "workers" / "demo"),
    ):
        if (folder / "__init__.py").is_file():
            return Application(module, folder, root)
    raise ConfigurationError(
        "the demo's application is not installed", hint="Install the package pgqueue again."
    )


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
    with (
        step(f"Install the application's own tables: {app.folder.name}/sql/prices.sql"),
        connect(dsn) as connection,
    ):
        connection.execute(app.sql("prices").encode())
    return dsn


@contextmanager
def _working(app: Application, dsn: str) -> Iterator[WorkerProcess]:
    with worker_process(app.module, dsn, folder=app.root) as worker:
        with step(f"Start a worker process: {' '.join(worker.command)}"):
            _wait_for_worker(dsn, worker)
        yield worker


def _wait_for_worker(dsn: str, worker: WorkerProcess) -> None:
    registered = Call("select id from pgqueue.worker_status", (), len)
    deadline = time.monotonic() + START_SECONDS
    with connect(dsn, application_name="pgqueue demo") as connection:
        while not calls.run(connection, registered):
            worker.check()
            if time.monotonic() > deadline:
                raise WaitTimeout(
                    f"no worker registered within {START_SECONDS:g} s\n{worker.tail()}"
                )
            time.sleep(_PAUSE_SECONDS)


def _first_round(app: Application, shell: Shell, worker: WorkerProcess) -> int:
    with step("Enqueue with a plain INSERT, as any language can"):
        shell.show(app.sql("enqueue"))
    with step("Wait for them, and for the job that the import enqueues"):
        jobs = _wait(shell.dsn, worker)
    _expect(jobs, import_prices="partial", send_reminder="succeeded", price_statistics="succeeded")
    with step("Look at the views"):
        _look(app, shell, "look")
    with step("What the worker logged"):
        for line in worker.log_lines():
            if ": job " in line:
                say(f"    {line}")
    return len(jobs)


def _second_round(app: Application, shell: Shell, worker: WorkerProcess, *, earlier: int) -> None:
    with step("Import the same file again"):
        shell.show(app.sql("enqueue_again"))
        jobs = _wait(shell.dsn, worker, earlier=earlier)
        _expect(jobs, import_prices="partial")
        _look(app, shell, "look_again")
        result = _last_import(shell.dsn)
        changed = result.get("created", 0) + result.get("updated", 0)
        if changed or not result.get("skipped"):
            raise PgqueueError(f"the second import should have changed nothing, and says {result}")
        say(f"    It created 0, updated 0 and skipped {result['skipped']}: nothing has changed.")


def _look(app: Application, shell: Shell, name: str) -> None:
    for title, statement in app.statements(name):
        say(f"\n    -- {title}")
        shell.show(statement)


@dataclass(frozen=True, slots=True)
class _Job:
    job_type: str
    status: str
    progress: float
    message: str | None
    errors: list[dict[str, Any]]

    def __str__(self) -> str:
        if self.status != "running" or not self.message:
            return f"{self.job_type} {self.status}"
        return f"{self.job_type} {self.progress:.0f} % ({self.message})"


def _wait(dsn: str, worker: WorkerProcess, *, earlier: int = 0) -> list[_Job]:
    """Wait for all jobs but the *earlier* ones; return them."""
    look = Call(
        "select job_type, status, progress, progress_message, errors"
        " from pgqueue.job_status order by id",
        (),
        lambda rows: [_Job(*row) for row in rows],
    )
    began, told = time.monotonic(), ""
    with connect(dsn, application_name="pgqueue demo") as connection:
        while True:
            jobs = calls.run(connection, look)[earlier:]
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
                    f"the jobs did not finish within {WORK_SECONDS:g} s: {text}\n{worker.tail()}"
                )
            time.sleep(_PAUSE_SECONDS)


def _expect(jobs: list[_Job], **wanted: str) -> None:
    for job_type, status in wanted.items():
        found = next((job for job in jobs if job.job_type == job_type), None)
        if found is None or found.status != status:
            told = f"{found.status}: {found.errors}" if found else "missing"
            raise PgqueueError(f"job {job_type} should be {status}, and is {told}")


def _last_import(dsn: str) -> dict[str, int]:
    latest: Call[dict[str, int]] = Call(
        "select result from pgqueue.job_status where job_type = 'import_prices'"
        " order by id desc limit 1",
        (),
        lambda rows: dict(rows[0][0] or {}),
    )
    with connect(dsn) as connection:
        return calls.run(connection, latest)


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
