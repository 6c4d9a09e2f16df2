"""
`pgqueue demo`: a server, the schema, an application, a worker, jobs by INSERT, and the views.

Nothing is left behind: the server is temporary, or, where the environment names one, a database of
the demo's own is created there and dropped at the end.

What is played is the application's: its module demo has a function `run(stage)`. Without --app that
is workers/demo, which is named and found, never imported from here by name:

    def run(stage: Stage) -> None:
        with stage.working() as worker:
            stage.show("enqueue")          # sql/shown/enqueue.sql
            expect(stage.wait(worker), import_prices="succeeded")
            stage.show("look")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgqueue.applications import Application, find_application
from pgqueue.demo.stage import Job, Stage, open_stage
from pgqueue.demo.telling import say, step
from pgqueue.errors import ConfigurationError, PgqueueError
from pgqueue.registry import import_module

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Job", "Stage", "expect", "run", "say", "step"]

_PACKAGE = Path(__file__).resolve().parents[1]


def run(dsn: str | None = None, *, app: str | None = None, keep: bool = False) -> None:
    """
    Run a demo and print what happens.

    Args:
        dsn: A server to use; else PGQUEUE_DSN or PG*, else an embedded one.
        app: The package whose demo it is; by default our own.
        keep: Leave the database, and an embedded server, for a look around.

    Raises:
        PgqueueError: A step failed; what was started is stopped and removed all the same.
        KeyboardInterrupt: Ctrl-C; as above.
    """
    found = _our_own() if app is None else find_application(app)
    play = getattr(import_module(f"{found.module}.demo"), "run", None)
    if play is None:
        raise ConfigurationError(f"{found.module}.demo has no function run(stage)")
    with open_stage(found, dsn, keep=keep) as stage:
        play(stage)


def expect(jobs: Iterable[Job], **wanted: str) -> None:
    """
    Make sure that the last job of each type has the status that is *wanted*.

    Raises:
        PgqueueError: It has not, or there is none.
    """
    last = {job.job_type: job for job in jobs}
    for job_type, status in wanted.items():
        found = last.get(job_type)
        if found is None or found.status != status:
            told = f"{found.status}: {found.errors}" if found else "missing"
            raise PgqueueError(f"job {job_type} should be {status}, and is {told}")


def _our_own() -> Application:
    root = _PACKAGE.parent
    for module, folder in (
        ("pgqueue.apps.demo", _PACKAGE / "apps" / "demo"),
        ("workers.demo", root / "workers" / "demo"),
    ):
        if (folder / "__init__.py").is_file():
            return Application(module, folder, root)
    raise ConfigurationError(
        "the demo's application is not installed", hint="Install the package pgqueue again."
    )
