"""
What a handler sees of its job, beside its own parameters.

The context is a plain object. It does no I/O itself: what must leave the process at once goes
through ContextHooks, which the worker, a child process or a test supplies; everything else is kept
and travels with the job's completion. So handlers use it alike in tasks, threads and processes.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from pgqueue import jsonio
from pgqueue.errors import ConfigurationError, InvalidArgument
from pgqueue.follow_up import follow_up, new_job_id, seconds_of
from pgqueue.log import JobLogger
from pgqueue.outcomes import Cancel, WaitFor, outcome_of
from pgqueue.result import JobError, Metrics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal, Unpack

    from pgqueue.follow_up import FollowUpOptions
    from pgqueue.outcomes import When
    from pgqueue.signals import Signal

__all__ = ["ContextHooks", "JobContext", "JobInfo", "NoHooks", "Progress"]

# More than this is a log, not an error report; the rest is counted.
ERRORS_MAX = 1_000
PROGRESS_CHARACTERS_MAX = 1_000  # running_progress_message_check
ENTITY_TYPE_CHARACTERS_MAX = 100  # job_results_entity_type_check
ENTITY_ID_CHARACTERS_MAX = 255  # job_results_entity_id_check
RESULT_URL_CHARACTERS_MAX = 2_000  # finished_result_url_check

_logger = logging.getLogger("pgqueue.job")


class ContextHooks(Protocol):
    """What the owner of a run does at once, called from the handler's thread: must not block."""

    def report_progress(self, percent: float, message: str | None) -> None:
        """Take the latest progress; earlier reports that were not sent yet are void."""

    def extend(self, seconds: float) -> None:
        """Move the run's time limit, here and in the database, to *seconds* from now."""


class NoHooks:
    """Hooks that do nothing: for tests and for handlers called by hand."""

    def report_progress(self, percent: float, message: str | None) -> None:
        """Drop it."""

    def extend(self, seconds: float) -> None:
        """Drop it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """
    The job and the attempt that runs it, as claimed.

    Attributes:
        token: The fencing token of this attempt. Send it along with effects outside the database,
            so that the receiver can reject what a lost attempt sends late.
    """

    id: UUID
    job_type: str
    token: int
    queue: str = "default"
    attempt: int = 1
    max_attempts: int = 1
    payload: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    signals: Mapping[str, Signal] = field(default_factory=dict)
    tenant: str | None = None
    created_at: dt.datetime | None = None
    worker: str | None = None
    deadline: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The last progress that the handler reported."""

    percent: float
    message: str | None = None


class JobContext:
    """
    One run of one job.

    Args:
        job: What was claimed.
        hooks: Supplied by whoever runs the handler.
        connection: The job's transaction, for a transactional handler.

    Attributes:
        metrics: Count what the run does here; it is stored and logged.
        errors: Per-item errors so far.
        follow_ups: Jobs to enqueue together with this one's completion.
    """

    def __init__(
        self, job: JobInfo, *, hooks: ContextHooks | None = None, connection: Any = None
    ) -> None:
        self.job = job
        self.metrics = Metrics()
        self.errors: list[JobError] = []
        self.follow_ups: list[dict[str, Any]] = []
        self.deadline = job.deadline
        self.last_progress: Progress | None = None
        self._hooks: ContextHooks = hooks or NoHooks()
        self._connection = connection
        self._cancel_reason: str | None = None
        self._cancelled = False
        self._errors_dropped = 0
        # A dict keeps the order and drops repeats: (type, id) is a key in pgqueue.job_results.
        self._created: dict[tuple[str, str], None] = {}
        self._result_url: str | None = None
        self._log: JobLogger | None = None

    @property
    def id(self) -> UUID:
        """The job's id: the same in every attempt."""
        return self.job.id

    @property
    def job_type(self) -> str:
        """The job's type."""
        return self.job.job_type

    @property
    def queue(self) -> str:
        """The queue that the job was claimed from."""
        return self.job.queue

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""
        return self.job.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts the job has."""
        return self.job.max_attempts

    @property
    def token(self) -> int:
        """The fencing token of this attempt; see JobInfo."""
        return self.job.token

    @property
    def payload(self) -> Mapping[str, Any]:
        """The whole payload, decoded but not converted."""
        return self.job.payload

    @property
    def headers(self) -> Mapping[str, Any]:
        """Trace context and the like."""
        return self.job.headers

    @property
    def signals(self) -> Mapping[str, Signal]:
        """What the job was told by pgqueue.signal() before this attempt, by name."""
        return self.job.signals

    def wait_for(
        self,
        name: str,
        *,
        timeout: When | None = None,
        on_timeout: Literal["fail", "run"] = "fail",
    ) -> Signal:
        """
        Return the signal of this name; if it has not come, end the attempt until it has.

        What stands before this in the handler runs again then.

        Args:
            name: Waiting twice takes two names.
            timeout: As for WaitFor.
            on_timeout: With "run", the signal's `timed_out` tells.

        Raises:
            WaitFor: It has not come: let it pass.
        """
        found = self.signals.get(name)
        if found is None:
            raise WaitFor(name, timeout=timeout, on_timeout=on_timeout)
        return found

    @property
    def tenant(self) -> str | None:
        """The tenant that the job belongs to."""
        return self.job.tenant

    @property
    def created_at(self) -> dt.datetime | None:
        """When the job was inserted."""
        return self.job.created_at

    @property
    def worker(self) -> str | None:
        """The name of the worker that runs this attempt."""
        return self.job.worker

    @property
    def logger(self) -> JobLogger:
        """A logger whose records carry job_id, job_type, attempt and token."""
        if self._log is None:
            ids = {
                "job_id": str(self.id),
                "job_type": self.job_type,
                "attempt": self.attempt,
                "token": self.token,
            }
            self._log = JobLogger(_logger, ids)
        return self._log

    @property
    def connection(self) -> Any:
        """
        The job's transaction: what is written through it commits together with the completion.

        An AsyncConnection for async handlers, a Connection for the others.

        Raises:
            ConfigurationError: The handler is not transactional.
        """
        if self._connection is None:
            raise ConfigurationError(
                f"job type {self.job_type} has no transaction of its own",
                hint="Declare the handler with @job(..., transactional=True).",
                job_id=self.id,
            )
        return self._connection

    def progress(self, percent: float, message: str | None = None) -> None:
        """
        Say how far the run is. Never waits; of several reports in a short time the last one counts.

        Args:
            percent: 0 to 100; what lies outside is moved to the nearer end.
            message: For people; cut to 1,000 characters.

        Raises:
            InvalidArgument: *percent* is not a number.
        """
        if isinstance(percent, bool) or not isinstance(percent, int | float):
            raise InvalidArgument(f"percent must be a number, not {type(percent).__name__}")
        if math.isnan(percent):
            raise InvalidArgument("percent must be a number, not NaN")
        text = None if message is None else jsonio.clean_text(message, PROGRESS_CHARACTERS_MAX)
        self.last_progress = Progress(min(100.0, max(0.0, percent)), text)
        self._hooks.report_progress(self.last_progress.percent, text)

    def created(self, entity_type: str, entity_id: object) -> None:
        """
        Record that the run created something; stored in pgqueue.job_results with the completion.

        Args:
            entity_type: Such as "Order".
            entity_id: Its key; stored as text.

        Raises:
            InvalidArgument: Either is empty or too long.
        """
        self._created[
            _checked_text("entity_type", entity_type, ENTITY_TYPE_CHARACTERS_MAX),
            _checked_text("entity_id", str(entity_id), ENTITY_ID_CHARACTERS_MAX),
        ] = None

    def error(
        self, message: str, *, code: str | None = None, item: object = None, retryable: bool = False
    ) -> None:
        """
        Record an error of one item and go on; the job then ends as partial.

        Args:
            message: For people.
            code: A stable name that programs can branch on.
            item: What part of the input it is about, as JSON.
            retryable: Whether enqueueing that item again can help.
        """
        if len(self.errors) < ERRORS_MAX:
            self.errors.append(JobError(message, code=code, item=item, retryable=retryable))
        else:
            self._errors_dropped += 1

    def enqueue(
        self,
        job_type: str,
        payload: Mapping[str, object] | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> UUID:
        """
        Enqueue a follow-up job: it exists if and only if this job's completion commits.

        Nothing is sent before that, so a run that is repeated enqueues once. The follow-up belongs
        to this job's tenant and trace.

        Args:
            job_type: The follow-up's type.
            payload: A JSON object; dates, UUIDs, Decimals and dataclasses are converted.
            **options: See FollowUpOptions.

        Returns:
            The id that the job gets, unless a key leads to a job that exists already.

        Raises:
            InvalidArgument: A naive time, or a payload that JSON cannot hold.
        """
        row = follow_up(job_type, payload or {}, tenant=self.tenant, parent=self.headers, **options)
        job_id = row.setdefault("id", str(new_job_id()))
        self.follow_ups.append(row)
        return UUID(job_id)

    @property
    def result_url(self) -> str | None:
        """Where the result lies, when it is too large for the database."""
        return self._result_url

    @result_url.setter
    def result_url(self, url: str | None) -> None:
        self._result_url = (
            None if url is None else _checked_text("result_url", url, RESULT_URL_CHARACTERS_MAX)
        )

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for this job to stop, or the attempt is losing its lease."""
        return self._cancelled

    def check_cancelled(self) -> None:
        """
        Stop here if that was asked for. For loops in synchronous handlers.

        Raises:
            Cancel: `cancelled` is true.
        """
        if self._cancelled:
            raise Cancel(self._cancel_reason)

    def request_cancel(self, reason: str | None = None) -> None:
        """Make `cancelled` true. Called by whoever runs the handler, from any thread."""
        self._cancel_reason = reason
        self._cancelled = True

    def extend(self, seconds: float | dt.timedelta) -> None:
        """
        Give this run until *seconds* from now, whatever its time limit was.

        Raises:
            InvalidArgument: Not between 0 seconds and 30 days.
        """
        wanted = seconds_of("seconds", seconds)
        self.deadline = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=wanted)
        self._hooks.extend(wanted)

    def outcome(self, result: object = None) -> dict[str, Any] | None:
        """
        What travels with the completion, as pgqueue.report() takes it; None for plain success.

        Args:
            result: What the handler returned.

        Raises:
            ResultNotSerializable: JSON or jsonb cannot hold *result*.
        """
        parts: dict[str, Any] = {
            "result": jsonio.plain_result(result),
            "result_url": self._result_url,
            "errors": self._error_list(),
            "metrics": self.metrics.to_dict(),
            "created": [list(pair) for pair in self._created],
            "follow_ups": self.follow_ups,
        }
        kept = {key: part for key, part in parts.items() if part is not None}
        for key in ("errors", "metrics", "created", "follow_ups"):
            if not kept[key]:
                del kept[key]
        return kept or None

    def failure(self, exc: BaseException) -> dict[str, Any]:
        """
        What travels with the end of a run that raised *exc*, as pgqueue.report() takes it.

        Follow-ups and created entities are dropped: they belong to a completion.
        """
        parts = outcome_of(exc)
        if parts["do"] == "fail":
            extras = {"errors": self._error_list(), "metrics": self.metrics.to_dict()}
            parts |= {key: part for key, part in extras.items() if part}
        return parts

    def _error_list(self) -> list[dict[str, Any]]:
        rows = [error.to_dict() for error in self.errors]
        if self._errors_dropped:
            dropped = f"{self._errors_dropped} more errors are not kept"
            rows.append(JobError(dropped, code="errors_truncated").to_dict())
        return rows


def _checked_text(name: str, value: str, characters_max: int) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be a string, not {type(value).__name__}")
    if not 1 <= len(value) <= characters_max:
        raise InvalidArgument(f"{name} must have 1 to {characters_max} characters")
    if jsonio.clean_text(value, characters_max) != value:
        raise InvalidArgument(f"{name} holds a NUL character or half a surrogate pair")
    return value
