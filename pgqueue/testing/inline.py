"""Run one handler here and now, as a worker would, and keep what it said."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pgqueue import handling, jsonio
from pgqueue.context import Progress
from pgqueue.definition import JobDefinition
from pgqueue.errors import ConfigurationError
from pgqueue.follow_up import new_job_id
from pgqueue.signals import HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping
    from typing import TypeVar
    from uuid import UUID

    from pgqueue.context import JobContext
    from pgqueue.definition import Handler
    from pgqueue.handling import Ending
    from pgqueue.result import JobError, JobResult, Metrics

    T = TypeVar("T")

__all__ = ["Attempt", "JobRun", "in_transaction", "run_job", "run_job_async", "run_loop"]

MAX_ATTEMPTS = 5  # the default of pgqueue.settings
WORKER = "pgqueue.testing"

_log = logging.getLogger("pgqueue.testing")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """
    One run of a handler, with everything that it said.

    Attributes:
        job_result: What a worker logs about the run.
        report: The outcome as pgqueue.report() takes it; None is plain success.
        exception: What the handler raised; outcomes such as Retry too.
        errors: Per-item errors, from `ctx.error(...)`.
        progress: Every progress, in order.
        extensions: Seconds, from `ctx.extend(...)`.
        created: Pairs of entity type and id, as stored; none if the run did not succeed.
        follow_ups: Jobs as pgqueue.enqueue_many() takes them; none if the run did not succeed.
    """

    job_result: JobResult
    report: dict[str, Any] | None = None
    exception: BaseException | None = None
    errors: tuple[JobError, ...] = ()
    progress: tuple[Progress, ...] = ()
    extensions: tuple[float, ...] = ()
    created: tuple[tuple[str, str], ...] = ()
    follow_ups: tuple[dict[str, Any], ...] = ()

    @property
    def job_id(self) -> UUID:
        """The job."""
        return self.job_result.job_id

    @property
    def job_type(self) -> str:
        """Its type."""
        return self.job_result.name

    @property
    def status(self) -> str:
        """Succeeded, partial, failed, cancelled, retrying, snoozed or paused, in lower case."""
        return self.job_result.status

    @property
    def success(self) -> bool:
        """Whether the handler returned."""
        return self.job_result.success

    @property
    def result(self) -> Any:
        """What the handler returned, as JSON holds it."""
        return self.job_result.result

    @property
    def error(self) -> JobError | None:
        """What ended the run when it did not succeed."""
        return self.job_result.error

    @property
    def metrics(self) -> Metrics:
        """What the run counted."""
        return self.job_result.metrics


def run_job(
    handler: Handler[..., Any] | JobDefinition,
    payload: Mapping[str, object] | None = None,
    *,
    connection: Any = None,
    attempt: int = 1,
    max_attempts: int | None = None,
    queue: str | None = None,
    job_id: UUID | None = None,
    token: int = 1,
    headers: Mapping[str, Any] | None = None,
    signals: Mapping[str, object] | None = None,
    tenant: str | None = None,
) -> JobRun:
    """
    Run *handler* in this process, without a queue and, unless it asks for one, a database.

    The payload goes through JSON and the binder, as in production. Sync handlers run in a thread,
    whatever their isolation; no time limit is enforced.

    Args:
        handler: A function decorated with `@job`, or its definition.
        payload: As it would be enqueued.
        connection: For a transactional handler: an AsyncConnection if it is async, else a
            Connection. What it writes stays in a transaction that the caller ends, or is committed
            if there is none; it is rolled back when the handler raises.
        attempt: The number of this attempt.
        max_attempts: By default the handler's, else 5.
        queue: By default the handler's, else `default`.
        job_id: By default a new one.
        token: The fencing token.
        headers: Trace context and the like.
        signals: What the job was told: payloads by name.
        tenant: The job's.

    Raises:
        ConfigurationError: A transactional handler without a connection, or the other way round;
            or an event loop runs already: use `run_job_async` there.
        InvalidArgument: JSON cannot hold the payload.
    """
    return run_loop(
        run_job_async(
            handler,
            payload,
            connection=connection,
            attempt=attempt,
            max_attempts=max_attempts,
            queue=queue,
            job_id=job_id,
            token=token,
            headers=headers,
            signals=signals,
            tenant=tenant,
        ),
        instead="run_job_async",
    )


async def run_job_async(
    handler: Handler[..., Any] | JobDefinition,
    payload: Mapping[str, object] | None = None,
    *,
    connection: Any = None,
    attempt: int = 1,
    max_attempts: int | None = None,
    queue: str | None = None,
    job_id: UUID | None = None,
    token: int = 1,
    headers: Mapping[str, Any] | None = None,
    signals: Mapping[str, object] | None = None,
    tenant: str | None = None,
) -> JobRun:
    """As `run_job`, for tests that are coroutines."""
    definition = handler if isinstance(handler, JobDefinition) else handler.job
    if definition.transactional is (connection is None):
        has = "is transactional" if definition.transactional else "is not transactional"
        raise ConfigurationError(
            f"job type {definition.job_type} {has}",
            hint="Give run_job a connection if, and only if, the handler is transactional.",
        )
    told = [{"name": name, "payload": payload} for name, payload in (signals or {}).items()]
    given = {**(headers or {}), **({HEADER: told} if told else {})}
    job = handling.Job(
        job_id=job_id or new_job_id(),
        token=token,
        job_type=definition.job_type,
        queue=queue or definition.queue or "default",
        attempt=attempt,
        max_attempts=max_attempts or definition.max_attempts or MAX_ATTEMPTS,
        run_seconds_max=definition.timeout_seconds,
        payload=jsonio.dump_payload(payload or {}),
        headers=handling.dumps(jsonio.to_json_value(given, "headers")) if given else None,
        tenant_id=tenant,
        created_at=dt.datetime.now(dt.UTC),
    )
    current = Attempt(handling.Route.of(definition), job)
    try:
        async with in_transaction(connection):
            ending = await current.handle(connection)
    except Exception as exc:  # whatever a handler raises is the outcome
        return current.run(current.failure(exc), exc)
    return current.run(ending)


@dataclass(slots=True)
class Attempt:
    """One attempt under way; it is the hooks of its own context, and records what they hear."""

    route: handling.Route
    job: Any  # a handling.Job or a Claimed
    context: JobContext | None = None
    started: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    progress: list[Progress] = field(default_factory=list)
    extensions: list[float] = field(default_factory=list)

    def report_progress(self, percent: float, message: str | None) -> None:
        """Keep it."""
        self.progress.append(Progress(percent, message))

    def extend(self, seconds: float) -> None:
        """Keep it."""
        self.extensions.append(seconds)

    async def handle(self, connection: Any = None) -> Ending:
        """
        Decode the payload, bind it, call the handler.

        Raises:
            Exception: Whatever the handler raises, and what the payload or result is refused for.
        """
        function = self.route.function
        self.context, arguments = handling.prepare(
            self.route, self.job, worker=WORKER, hooks=self, connection=connection
        )
        if self.route.kind == "task":
            value = await function(**arguments)
        else:
            # As in a worker: a handler may start an event loop of its own.
            value = await asyncio.to_thread(function, **arguments)
        return handling.success(self.context, value)

    def failure(self, exc: Exception) -> Ending:
        """End it: its handler raised *exc*."""
        return handling.failure(self.context, exc, self.job)

    def run(self, ending: Ending, exception: Exception | None = None) -> JobRun:
        """Describe and log the run that ended so."""
        report = None if ending.outcome is None else json.loads(ending.outcome)
        parts = report or {}
        # The result as JSON holds it: what is asserted is what a producer reads.
        result = replace(ending.job_result(self.job, self.started), result=parts.get("result"))
        result.log(_log)
        return JobRun(
            job_result=result,
            report=report,
            exception=exception,
            errors=() if self.context is None else tuple(self.context.errors),
            progress=tuple(self.progress),
            extensions=tuple(self.extensions),
            created=tuple((kind, key) for kind, key in parts.get("created", ())),
            follow_ups=tuple(parts.get("follow_ups", ())),
        )


@asynccontextmanager
async def in_transaction(connection: Any) -> AsyncIterator[None]:
    """Open a transaction, or a savepoint, on whatever connection this is; on a fake, nothing."""
    open_block = getattr(connection, "transaction", None)
    block: Any = open_block() if callable(open_block) else None
    if hasattr(block, "__aenter__"):
        async with block:
            yield
    elif hasattr(block, "__enter__"):
        with block:
            yield
    else:
        yield


def run_loop(work: Coroutine[Any, Any, T], *, instead: str) -> T:
    """
    Run *work* in an event loop of its own.

    Raises:
        ConfigurationError: One runs already.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    raise ConfigurationError(
        "an event loop runs already", hint=f"In a coroutine, write `await {instead}(...)`."
    )
