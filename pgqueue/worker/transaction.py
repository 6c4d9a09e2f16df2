"""
Transactional handlers: what they write and the job's completion commit together, or not at all.

    begin -> is the job still ours? -> handler -> pgqueue.complete() -> commit

- A lost lease (PQ001) rolls everything back; nothing is reported, for the job is somebody else's.
- When the reply to COMMIT is lost the run is reported as failed with code commit_unknown. The
  fence decides: had it committed, the report is refused and the job stays finished; if not, it is
  retried.
- A statement of the handler may take as long as the job, and a grace; without a time limit, an
  hour. Then the server counts as hung: the connection is closed and the attempt fails.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
from typing import TYPE_CHECKING, Any, Protocol

import psycopg

from pgqueue import calls, handling, log
from pgqueue._pause import reach
from pgqueue.calls import run as execute
from pgqueue.calls import run_async as execute_async
from pgqueue.errors import DatabaseUnavailable, InvalidArgument, LeaseLost
from pgqueue.handling import Ending
from pgqueue.worker.link import CALL_SECONDS

if TYPE_CHECKING:
    from pgqueue.connection import AsyncBoundedConnection, BoundedConnection
    from pgqueue.context import ContextHooks, JobContext
    from pgqueue.handling import Route

__all__ = ["Carrier", "Stale", "run_async", "run_sync"]

_logger = logging.getLogger("pgqueue.worker")

LOST = Ending("lost", send=False)
# The worker stops the handler at its time limit; this is for when that hangs as well.
GRACE_SECONDS = 10.0
UNLIMITED_SECONDS = 3_600.0


class Stale(Exception):
    """The connection was dead before the handler began: take another one."""


class Carrier(Protocol):
    """What the owner of a run looks at while it lasts."""

    context: JobContext | None
    connection: Any
    finishing: bool


class _Step(enum.Enum):
    BEGIN = 1
    HANDLE = 2
    COMPLETE = 3
    COMMIT = 4


async def run_async(
    conn: AsyncBoundedConnection,
    carrier: Carrier,
    route: Route,
    job: Any,
    *,
    worker: str,
    hooks: ContextHooks,
) -> Ending:
    """
    Run an async handler in a transaction of *conn*.

    Args:
        conn: Autocommit; nobody else uses it meanwhile.
        carrier: Told the context and when it is too late to stop.
        route: How the handler is called.
        job: The claimed job.
        worker: The worker's name.
        hooks: For the context.

    Raises:
        Stale: Nothing has happened; try again with another connection.
        Exception: Whatever the handler raised; everything is rolled back.
    """
    step = _Step.BEGIN
    carrier.connection = conn
    watch = _CommitWatch(job)
    try:
        conn.call_seconds = CALL_SECONDS
        async with conn.transaction():
            _check_owned(await execute_async(conn, calls.settle(job.job_id, job.token)), job)
            step, conn.call_seconds = _Step.HANDLE, _statement_seconds(job.run_seconds_max)
            context, arguments = handling.prepare(
                route, job, worker=worker, hooks=_Extending(hooks, conn), connection=conn
            )
            carrier.context = context
            try:
                ending = handling.success(context, await route.function(**arguments))
            finally:
                conn.call_seconds = CALL_SECONDS
            step, carrier.finishing = _Step.COMPLETE, True
            await execute_async(conn, handling.completion(job, ending))
            step = _Step.COMMIT
            conn.add_notice_handler(watch)
            reach("before_commit")
    except LeaseLost:
        return LOST
    except Exception as exc:
        return _ended_badly(exc, step, job, broken=conn.closed or conn.broken)
    finally:
        carrier.connection = None
        carrier.finishing = False
        watch.remove_from(conn)
    return dataclasses.replace(ending, send=False)


def run_sync(
    conn: BoundedConnection,
    carrier: Carrier,
    route: Route,
    job: Any,
    *,
    worker: str,
    hooks: ContextHooks,
) -> Ending:
    """As `run_async`, for a synchronous handler."""
    step = _Step.BEGIN
    carrier.connection = conn
    watch = _CommitWatch(job)
    try:
        conn.call_seconds = CALL_SECONDS
        with conn.transaction():
            _check_owned(execute(conn, calls.settle(job.job_id, job.token)), job)
            step, conn.call_seconds = _Step.HANDLE, _statement_seconds(job.run_seconds_max)
            context, arguments = handling.prepare(
                route, job, worker=worker, hooks=_Extending(hooks, conn), connection=conn
            )
            carrier.context = context
            try:
                ending = handling.success(context, route.function(**arguments))
            finally:
                conn.call_seconds = CALL_SECONDS
            step, carrier.finishing = _Step.COMPLETE, True
            execute(conn, handling.completion(job, ending))
            step = _Step.COMMIT
            conn.add_notice_handler(watch)
            reach("before_commit")
    except LeaseLost:
        return LOST
    except Exception as exc:
        return _ended_badly(exc, step, job, broken=conn.closed or conn.broken)
    finally:
        carrier.connection = None
        carrier.finishing = False
        watch.remove_from(conn)
    return dataclasses.replace(ending, send=False)


def _statement_seconds(limit: float | None) -> float:
    return UNLIMITED_SECONDS if limit is None else limit + GRACE_SECONDS


class _Extending:
    """The hooks of a run whose statements get more time when the run does."""

    def __init__(
        self, hooks: ContextHooks, conn: AsyncBoundedConnection | BoundedConnection
    ) -> None:
        self._conn = conn
        self._hooks = hooks
        self.report_progress = hooks.report_progress

    def extend(self, seconds: float) -> None:
        """Pass it on, and see that the statements to come may take as long."""
        self._conn.call_seconds = max(self._conn.call_seconds or 0.0, _statement_seconds(seconds))
        self._hooks.extend(seconds)


def _check_owned(state: str, job: Any) -> None:
    if state != "running":
        raise LeaseLost(f"the attempt is {state}", job_id=job.job_id)


def _ended_badly(exc: Exception, step: _Step, job: Any, *, broken: bool) -> Ending:
    """Say what it means; raises *exc* again when it is the handler's own."""
    database = isinstance(exc, DatabaseUnavailable | psycopg.Error)
    if step is _Step.BEGIN and broken and database:
        raise Stale from exc
    if step is _Step.COMMIT and broken:
        message = "the connection was lost while the transaction committed"
        return handling.stopped("commit_unknown", message, job)
    if step is _Step.COMPLETE and isinstance(exc, InvalidArgument):
        return handling.refused(exc, job)
    raise exc


class _CommitWatch:
    """Hears WARNING 01000 at COMMIT: committed here, but no standby has confirmed it."""

    def __init__(self, job: Any) -> None:
        self._job = job
        self._added = False

    def __call__(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.sqlstate == "01000" and diagnostic.severity_nonlocalized == "WARNING":
            log.event(
                _logger,
                logging.WARNING,
                "commit not confirmed by a standby",
                job_id=self._job.job_id,
                token=self._job.token,
            )

    def remove_from(self, conn: AsyncBoundedConnection | BoundedConnection) -> None:
        """Stop listening; harmless if it never began."""
        try:
            conn.remove_notice_handler(self)
        except ValueError:
            return
