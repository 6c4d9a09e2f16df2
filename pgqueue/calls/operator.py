"""The calls of people and of tools: move, pause, look, check."""

from __future__ import annotations

import datetime as dt  # noqa: TC003  # the fields' types, for get_type_hints
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID  # noqa: TC003  # as above

from pgqueue.calls.core import Call, nothing, records, scalar
from pgqueue.sqlfiles import query

if TYPE_CHECKING:
    from pgqueue.calls.core import Row

__all__ = [
    "Drift",
    "ServerState",
    "Violation",
    "WorkflowJob",
    "cancel",
    "drain_worker",
    "drift",
    "pause_job_type",
    "pause_queue",
    "purge_queue",
    "redrive",
    "reprioritise",
    "reschedule",
    "resume_job_type",
    "resume_queue",
    "retry",
    "schema_version",
    "server_state",
    "set_job_type",
    "set_settings",
    "verify",
    "why_waiting",
    "workflow",
]


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a new connection finds."""

    in_recovery: bool
    read_only: bool
    version: int
    has_schema: bool
    may_use_schema: bool
    user: str


@dataclass(frozen=True, slots=True)
class WorkflowJob:
    """One of the jobs that are connected by depends_on."""

    job_id: UUID
    job_type: str
    status: str
    depends_on: list[UUID] | None
    on_parent_failure: str | None


@dataclass(frozen=True, slots=True)
class Drift:
    """An object that differs from the last install: added, missing or changed."""

    kind: str
    name: str
    drift: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant, as pgqueue.verify() reports it."""

    problem: str
    job_id: UUID | None
    detail: str | None


def cancel(job_id: UUID, *, reason: str | None = None) -> Call[str]:
    """
    Cancel a job: one that waits at once, one that runs as soon as its handler stops.

    Args:
        job_id: The job.
        reason: Stored with it.

    Returns:
        `cancelled`, or `running` when it was asked to stop.

    Raises:
        IllegalStatus: It finished otherwise.
        JobNotFound: There is none.
    """
    return Call("select pgqueue.cancel(%s, %s)", (job_id, reason), scalar, repeatable=True)


def retry(job_id: UUID) -> Call[None]:
    """
    Run a finished job again from the start, or one that waits for its time now.

    Raises:
        IllegalStatus: It is ready, blocked or running, or has expired.
        UniqueKeyTaken: Another unfinished job has its unique key by now.
        JobNotFound: There is none.
    """
    return Call("select pgqueue.retry(%s)", (job_id,), nothing)


def redrive(
    *,
    job_type: str | None = None,
    queue: str | None = None,
    since: dt.datetime | None = None,
    limit: int = 1000,
) -> Call[int]:
    """
    Retry failed jobs, oldest first; answers how many.

    Args:
        job_type: Only of this type.
        queue: Only of this queue.
        since: Only those that failed since.
        limit: At most so many.
    """
    return Call("select pgqueue.redrive(%s, %s, %s, %s)", (job_type, queue, since, limit), scalar)


def reschedule(job_id: UUID, run_at: dt.datetime | None = None) -> Call[None]:
    """
    Move a waiting job in time; None = now.

    Raises:
        IllegalStatus: It no longer waits.
        JobNotFound: There is none.
    """
    return Call("select pgqueue.reschedule(%s, %s)", (job_id, run_at), nothing)


def reprioritise(job_id: UUID, priority: int) -> Call[None]:
    """
    Change a waiting job's priority; it goes to the end of that priority.

    Raises:
        InvalidArgument: Not 0 (high) to 3 (bulk).
        IllegalStatus: It no longer waits.
        JobNotFound: There is none.
    """
    return Call("select pgqueue.reprioritise(%s, %s)", (job_id, priority), nothing)


def pause_queue(queue: str, *, reason: str | None = None) -> Call[None]:
    """Hold back every claim from *queue*; what runs goes on, producers go on inserting."""
    return Call("select pgqueue.pause_queue(%s, %s)", (queue, reason), nothing, repeatable=True)


def resume_queue(queue: str) -> Call[None]:
    """Undo `pause_queue`."""
    return Call("select pgqueue.resume_queue(%s)", (queue,), nothing, repeatable=True)


def pause_job_type(job_type: str, *, reason: str | None = None) -> Call[None]:
    """Hold back every claim of *job_type*."""
    return Call(
        "select pgqueue.pause_job_type(%s, %s)", (job_type, reason), nothing, repeatable=True
    )


def resume_job_type(job_type: str) -> Call[None]:
    """Undo `pause_job_type`."""
    return Call("select pgqueue.resume_job_type(%s)", (job_type,), nothing, repeatable=True)


def purge_queue(queue: str, *, limit: int = 10_000) -> Call[int]:
    """Cancel up to *limit* waiting jobs; answers how many. Call it until it answers 0."""
    return Call("select pgqueue.purge_queue(%s, %s)", (queue, limit), scalar)


def drain_worker(worker: int) -> Call[None]:
    """
    Ask a worker to finish what it runs and stop.

    Raises:
        WorkerGone: It does not live.
    """
    return Call("select pgqueue.drain_worker(%s)", (worker,), nothing, repeatable=True)


def set_job_type(
    job_type: str,
    *,
    enabled: bool | None = None,
    queue: str | None = None,
    max_attempts: int | None = None,
    timeout: dt.timedelta | None = None,
    backoff_base: dt.timedelta | None = None,
    backoff_factor: float | None = None,
    backoff_cap: dt.timedelta | None = None,
    retention: dt.timedelta | None = None,
    description: str | None = None,
    operator_managed: bool = True,
) -> Call[None]:
    """Change a job type's settings; None leaves one. What workers declare then counts no more."""
    return Call(
        "select pgqueue.set_job_type(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            job_type,
            enabled,
            queue,
            max_attempts,
            timeout,
            backoff_base,
            backoff_factor,
            backoff_cap,
            retention,
            description,
            operator_managed,
        ),
        nothing,
        repeatable=True,
    )


def set_settings(
    *,
    strict_job_types: bool | None = None,
    max_attempts: int | None = None,
    backoff_base: dt.timedelta | None = None,
    backoff_factor: float | None = None,
    backoff_cap: dt.timedelta | None = None,
    retention: dt.timedelta | None = None,
    timeout_grace: dt.timedelta | None = None,
    aging: dt.timedelta | None = None,
) -> Call[None]:
    """Change the settings of the whole queue system; None leaves one."""
    return Call(
        "select pgqueue.set_settings(%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            strict_job_types,
            max_attempts,
            backoff_base,
            backoff_factor,
            backoff_cap,
            retention,
            timeout_grace,
            aging,
        ),
        nothing,
        repeatable=True,
    )


def why_waiting(job_id: UUID) -> Call[str]:
    """
    Say in words why a job does not run.

    Raises:
        JobNotFound: There is none.
    """
    return Call("select pgqueue.why_waiting(%s)", (job_id,), scalar, repeatable=True)


def workflow(job_id: UUID, limit: int = 1000) -> Call[list[WorkflowJob]]:
    """
    List the jobs that are connected with this one by depends_on, in either direction.

    Args:
        job_id: Any of them.
        limit: At most so many.

    Raises:
        JobNotFound: There is none.
    """
    return Call(
        "select * from pgqueue.workflow(%s, %s)",
        (job_id, limit),
        records(WorkflowJob),
        repeatable=True,
    )


def verify() -> Call[list[Violation]]:
    """Every violation of the invariants. Reads everything."""
    return Call("select * from pgqueue.verify()", (), records(Violation), repeatable=True)


def drift() -> Call[list[Drift]]:
    """What somebody changed in the schema since the last install."""
    return Call("select * from pgqueue.drift()", (), records(Drift), repeatable=True)


def schema_version() -> Call[int]:
    """The number of the last migration that ran."""
    return Call("select pgqueue.schema_version()", (), scalar, repeatable=True)


def server_state() -> Call[ServerState]:
    """Ask what a connection needs to know before it asks for anything of ours."""
    return Call(query("server_state"), (), _decode_state, repeatable=True)


def _decode_state(rows: list[Row]) -> ServerState:
    values: tuple[Any, ...] = rows[0]
    return ServerState(*values)
