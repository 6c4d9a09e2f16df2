"""Look at a job, and wait for its end."""

from __future__ import annotations

import datetime as dt  # noqa: TC003  # JobStatus' types, for get_type_hints, too
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from uuid import UUID  # noqa: TC003  # as above

from pgqueue.calls.core import Call, Pause
from pgqueue.errors import JobNotFound, WaitTimeout

if TYPE_CHECKING:
    from pgqueue.calls.core import Row, Script

__all__ = ["FINISHED", "JobStatus", "status", "wait_until_finished"]

FINISHED = frozenset({"succeeded", "partial", "failed", "cancelled"})

# The first look comes soon, for short jobs; a long job costs one indexed look per second.
_PAUSE_SECONDS_MIN = 0.02
_PAUSE_SECONDS_MAX = 1.0
_PAUSE_FACTOR = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """
    One job as the view pgqueue.job_status shows it; the view's comments explain each column.

    Attributes:
        status: scheduled, queued, blocked, running, retrying, succeeded, partial, failed or
            cancelled.
        errors: Objects with code, message, item and retryable.
        created: Objects with entity_type and entity_id.
        wait_seconds: From ready to start; of a queued job, until now.
        run_seconds: How long the last attempt took; of a running job, until now.
        attempts: Earlier attempts, oldest first.
    """

    id: UUID
    job_type: str
    queue: str
    status: str
    priority: int
    progress: float
    progress_message: str | None
    attempt: int
    max_attempts: int
    result: Any
    result_url: str | None
    errors: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    created: list[dict[str, Any]]
    run_at: dt.datetime | None
    expires_at: dt.datetime | None
    created_at: dt.datetime
    created_by: str
    ready_at: dt.datetime | None
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    wait_seconds: float | None
    run_seconds: float | None
    worker_id: int | None
    worker: str | None
    reason: str | None
    idempotency_key: str | None
    unique_key: str | None
    tenant_id: str | None
    cancel_requested_at: dt.datetime | None
    attempts: list[dict[str, Any]]
    batch_id: UUID | None
    deadline_at: dt.datetime | None

    @property
    def finished(self) -> bool:
        """Whether it will not change any more, unless somebody retries it."""
        return self.status in FINISHED

    @property
    def success(self) -> bool:
        """Whether its handler came to the end: succeeded or partial."""
        return self.status in {"succeeded", "partial"}


def status(job_id: UUID) -> Call[JobStatus]:
    """
    Look at one job.

    Raises:
        JobNotFound: There is none, or none that this role may see.
    """

    def decode(rows: list[Row]) -> JobStatus:
        if not rows:
            raise JobNotFound(
                f"job {job_id} does not exist",
                hint="It may have been removed by retention, or its insert is not committed.",
            )
        row = {name: rows[0][name] for name in _STATUS_COLUMNS}
        for name in ("wait_seconds", "run_seconds"):
            row[name] = None if row[name] is None else float(row[name])
        return JobStatus(**row)

    return Call(
        "select * from pgqueue.job_status where id = %s",
        (job_id,),
        decode,
        by_name=True,
        repeatable=True,
    )


def wait_until_finished(job_id: UUID, *, seconds: float) -> Script[JobStatus]:
    """
    Look at a job until it has finished.

    Raises:
        JobNotFound: There is none.
        WaitTimeout: It has not finished in time; it goes on.
    """
    deadline = time.monotonic() + seconds
    pause = _PAUSE_SECONDS_MIN
    while True:
        seen: JobStatus = yield status(job_id)
        if seen.finished:
            return seen
        left = deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout(
                f"job {job_id} is still {seen.status} after {seconds:g} s",
                hint="It goes on; select pgqueue.why_waiting(id) says what it waits for.",
                job_id=job_id,
            )
        yield Pause(min(pause, left))
        pause = min(pause * _PAUSE_FACTOR, _PAUSE_SECONDS_MAX)


_STATUS_COLUMNS = tuple(column.name for column in fields(JobStatus))
