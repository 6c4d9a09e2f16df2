"""
What is the same wherever a handler runs: its arguments before, the ending after.

Used by the worker's tasks, threads and child processes, and by pgqueue.testing.
"""

from __future__ import annotations

import datetime as dt
import json
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pgqueue import calls, jsonio
from pgqueue.context import JobContext, JobInfo
from pgqueue.outcomes import Outcome, outcome_of
from pgqueue.result import JobError, JobResult, Metrics
from pgqueue.signals import take_signals

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from pgqueue.binding import Binder
    from pgqueue.calls import Call
    from pgqueue.context import ContextHooks
    from pgqueue.definition import JobDefinition
    from pgqueue.errors import InvalidArgument

__all__ = [
    "PLAIN",
    "Ending",
    "Job",
    "Route",
    "completion",
    "dumps",
    "failure",
    "prepare",
    "refused",
    "stopped",
    "success",
]

TRACEBACK_CHARACTERS_MAX = 4_000
# The frames between the worker, or pgqueue.testing, and the handler: of no use to its author.
RUNNERS = frozenset(
    {"asyncio", "concurrent.futures", "pgqueue.binding", "pgqueue.testing", "pgqueue.worker"}
)

Kind = Literal["task", "thread", "process"]


@dataclass(frozen=True, slots=True)
class Route:
    """How jobs of one type are run; worked out once."""

    definition: JobDefinition
    function: Callable[..., Any]
    binder: Binder
    kind: Kind
    transactional: bool
    wants_context: bool

    @classmethod
    def of(cls, definition: JobDefinition) -> Route:
        """Read *definition*."""
        kind: Kind = "task" if definition.is_async else definition.isolation or "thread"
        binder = definition.binder
        wants_context = binder.context_parameter is not None or definition.transactional
        return cls(
            definition, definition.function, binder, kind, definition.transactional, wants_context
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job, as far as running it goes; it travels to child processes."""

    job_id: UUID
    token: int
    job_type: str
    queue: str
    attempt: int
    max_attempts: int
    run_seconds_max: float | None
    payload: str
    headers: str | None
    tenant_id: str | None
    created_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Ending:
    """
    How a run ended.

    Attributes:
        status: As JobResult has it; until the report is answered a forecast: a cancellation may
            have been requested, and the limit of attempts may have changed.
        outcome: As pgqueue.report() takes it; None for plain success.
        send: Whether it is still to be reported; False when it is committed, or nobody's business.
        error: What ended it, unless it succeeded.
        metrics: What the handler counted.
        result: What it returned.
    """

    status: str
    outcome: str | None = None
    send: bool = True
    error: JobError | None = None
    metrics: Metrics = field(default_factory=Metrics)
    result: Any = None

    def job_result(self, job: Any, started: dt.datetime) -> JobResult:
        """Describe the run of *job* that began at *started* and ends now."""
        now = dt.datetime.now(dt.UTC)
        return JobResult(
            job_id=job.job_id,
            name=job.job_type,
            status=self.status,
            attempt=job.attempt,
            started=started,
            completed=now,
            duration_ms=round((now - started).total_seconds() * 1000),
            metrics=self.metrics,
            error=self.error,
            result=self.result,
        )


PLAIN = Ending("succeeded")


def prepare(
    route: Route,
    job: Any,
    *,
    worker: str,
    hooks: ContextHooks | None = None,
    connection: Any = None,
) -> tuple[JobContext | None, dict[str, Any]]:
    """
    Decode and bind a job's payload.

    Args:
        route: Of its type.
        job: A Job or a Claimed.
        worker: The worker's name.
        hooks: For the context.
        connection: The job's transaction.

    Returns:
        The context, None where the handler has no use for one, and the handler's arguments.

    Raises:
        PayloadError: The payload cannot be handed to the handler.
    """
    binder = route.binder
    payload = jsonio.load_payload(job.payload, exact=binder.exact_numbers)
    if not route.wants_context:
        return None, binder.bind(payload)
    headers = jsonio.loads(job.headers) if job.headers else {}
    signals = take_signals(headers)
    info = JobInfo(
        id=job.job_id,
        job_type=job.job_type,
        token=job.token,
        queue=job.queue,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        payload=payload,
        headers=headers,
        signals=signals,
        tenant=job.tenant_id,
        created_at=job.created_at,
        worker=worker,
        deadline=_from_now(job.run_seconds_max),
    )
    context = JobContext(info, hooks=hooks, connection=connection)
    return context, binder.arguments(payload, context)


def success(context: JobContext | None, result: object) -> Ending:
    """
    End a run whose handler returned *result*.

    Raises:
        ResultNotSerializable: JSON cannot hold it.
    """
    if context is None:
        if result is None:
            return PLAIN
        return Ending("succeeded", dumps({"result": jsonio.plain_result(result)}), result=result)
    parts = context.outcome(result)
    status = "partial" if context.errors else "succeeded"
    outcome = None if parts is None else dumps(parts)
    return Ending(status, outcome, metrics=context.metrics, result=result)


def failure(context: JobContext | None, exc: BaseException, job: Any) -> Ending:
    """
    End a run whose handler raised *exc*.

    Args:
        context: The run's, if it got that far.
        exc: What was raised.
        job: Tells whether attempts are left.
    """
    parts = outcome_of(exc) if context is None else context.failure(exc)
    row = parts.get("error")
    error = None if row is None else JobError.from_dict(row)
    if parts["do"] == "fail" and not isinstance(exc, Outcome):
        parts["error"]["traceback"] = _frames(exc)
    status = _status(parts, job)
    metrics = Metrics() if context is None else context.metrics
    return Ending(status, dumps(parts), error=error, metrics=metrics)


def stopped(
    code: str, message: str, job: Any, *, metrics: Metrics | None = None, retryable: bool = True
) -> Ending:
    """End a run that did not end by itself, as a failure."""
    error = JobError(message, code=code, retryable=retryable)
    parts = {"do": "fail", "retryable": retryable, "error": error.to_dict()}
    return Ending(_status(parts, job), dumps(parts), error=error, metrics=metrics or Metrics())


def refused(exc: InvalidArgument, job: Any) -> Ending:
    """End a run whose outcome PostgreSQL will not store; it would not next time either."""
    return stopped("result_refused", exc.message, job, retryable=False)


def completion(job: Any, ending: Ending) -> Call[str]:
    """Complete *job* in its own transaction with what *ending* of a success tells."""
    parts: dict[str, Any] = {} if ending.outcome is None else json.loads(ending.outcome)
    names = ("result", "errors", "metrics", "created", "follow_ups")
    encoded = {name: dumps(parts[name]) for name in names if name in parts}
    return calls.complete(job.job_id, job.token, result_url=parts.get("result_url"), **encoded)


def _from_now(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


def _status(parts: dict[str, Any], job: Any) -> str:
    match parts["do"]:
        case "fail":
            again = parts.get("retryable", True) and job.attempt < job.max_attempts
            return "retrying" if again else "failed"
        case "snooze":
            return "snoozed"
        case "pause_until":
            return "paused"
        case _:
            return "cancelled"


def _frames(exc: BaseException) -> str:
    # Where, from the handler on. Not what: the message is stored beside it, DETAILs hold data.
    trace = exc.__traceback__
    while trace is not None and _is_runner(trace.tb_frame.f_globals):
        trace = trace.tb_next
    lines = "".join(traceback.format_tb(trace))
    return jsonio.clean_text(lines[-TRACEBACK_CHARACTERS_MAX:], TRACEBACK_CHARACTERS_MAX)


def _is_runner(names: dict[str, Any]) -> bool:
    return names.get("__package__") in RUNNERS or names.get("__name__") == __name__


def dumps(parts: object) -> str:
    """Encode what `outcome()` and `failure()` of a context made plain."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
