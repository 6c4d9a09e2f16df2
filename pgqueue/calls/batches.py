"""The calls about batches, and about jobs that wait for a signal."""

from __future__ import annotations

import datetime as dt  # noqa: TC003  # BatchStatus' types, for get_type_hints
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003  # as above

from pgqueue import jsonio
from pgqueue.calls.core import Call, nothing, scalar
from pgqueue.calls.producer import job_row
from pgqueue.errors import BatchNotFound
from pgqueue.follow_up import new_job_id

if TYPE_CHECKING:
    from pgqueue.calls.core import Row
    from pgqueue.calls.producer import NewJob

__all__ = [
    "BatchStatus",
    "batch_status",
    "close_batch",
    "open_batch",
    "pause_until",
    "signal",
    "signal_by_token",
    "signal_token",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """
    One batch as the view pgqueue.batch_status shows it; the view's comments explain each column.

    Attributes:
        status: open, closed, succeeded or failed.
        succeeded: Partial counts.
        refused: Which callbacks could not be enqueued, and why: by success, failure, complete.
    """

    id: UUID
    name: str | None
    status: str
    total: int
    waiting: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    percent: float
    success_job_id: UUID | None
    failure_job_id: UUID | None
    complete_job_id: UUID | None
    refused: dict[str, str]
    description: str | None
    tenant_id: str | None
    created_at: dt.datetime
    created_by: str
    closed_at: dt.datetime | None
    finished_at: dt.datetime | None

    @property
    def finished(self) -> bool:
        """Whether all its jobs have finished, unless somebody retries one."""
        return self.status in {"succeeded", "failed"}


def open_batch(
    name: str | None = None,
    *,
    on_success: NewJob | None = None,
    on_failure: NewJob | None = None,
    on_complete: NewJob | None = None,
    description: str | None = None,
    tenant_id: str | None = None,
    batch_id: UUID | None = None,
) -> Call[UUID]:
    """
    Open a batch; answers its id.

    The id is drawn here, so that a call whose reply was lost can be repeated.

    Args:
        name: For people.
        on_success: Enqueued when all jobs have succeeded.
        on_failure: Enqueued when the first has failed or was cancelled.
        on_complete: Enqueued when all have finished.
        description: For people.
        tenant_id: Whose it is.
        batch_id: Instead of a new one.

    Raises:
        InvalidArgument: A callback with an id, a key or a batch of its own.
    """
    jobs = (on_success, on_failure, on_complete)
    return Call(
        "select pgqueue.open_batch(%s, %s::jsonb, %s::jsonb, %s::jsonb, %s, %s, %s)",
        (name, *map(_callback, jobs), description, tenant_id, batch_id or new_job_id()),
        scalar,
        repeatable=True,
    )


def _callback(job: NewJob | None) -> str | None:
    if job is None:
        return None
    return json.dumps(job_row(job), ensure_ascii=False, allow_nan=False)


def close_batch(batch_id: UUID) -> Call[None]:
    """
    Let no more jobs in from outside: the batch finishes with its last job.

    Raises:
        BatchNotFound: There is none.
    """
    return Call("select pgqueue.close_batch(%s)", (batch_id,), nothing, repeatable=True)


def batch_status(batch_id: UUID) -> Call[BatchStatus]:
    """
    Look at one batch.

    Raises:
        BatchNotFound: There is none, or none that this role may see.
    """

    def decode(rows: list[Row]) -> BatchStatus:
        if not rows:
            raise BatchNotFound(f"batch {batch_id} does not exist")
        row = {column.name: rows[0][column.name] for column in fields(BatchStatus)}
        return BatchStatus(**{**row, "percent": float(row["percent"])})

    return Call(
        "select * from pgqueue.batch_status where id = %s",
        (batch_id,),
        decode,
        by_name=True,
        repeatable=True,
    )


def signal(job_id: UUID, name: str, payload: object = None) -> Call[bool]:
    """
    Tell a job something; one that waits for it runs. Answers False if it was told already.

    Args:
        job_id: The job.
        name: What it waits for, or a token of `signal_token`.
        payload: JSON; the handler finds it in `ctx.signals`.

    Raises:
        JobNotFound: There is none.
        IllegalStatus: It has finished.
    """
    return Call(
        "select pgqueue.signal(%s, %s, %s::jsonb)",
        (job_id, name, _json(payload)),
        scalar,
        repeatable=True,
    )


def signal_by_token(token: str, payload: object = None) -> Call[bool]:
    """
    As `signal`, for whoever has only the token.

    Raises:
        BadSignalToken: It is none.
    """
    return Call(
        "select pgqueue.signal_by_token(%s, %s::jsonb)",
        (token, _json(payload)),
        scalar,
        repeatable=True,
    )


def signal_token(job_id: UUID, name: str) -> Call[str]:
    """
    Ask for the unguessable token of one signal of one job, for a link.

    Raises:
        JobNotFound: There is none.
    """
    return Call("select pgqueue.signal_token(%s, %s)", (job_id, name), scalar, repeatable=True)


def pause_until(
    job_id: UUID,
    token: int,
    signal_name: str,
    *,
    timeout: dt.timedelta | None = None,
    on_timeout: str = "fail",
) -> Call[None]:
    """
    End the attempt; the job runs again when the signal comes or the time is over.

    Raises:
        LeaseLost: Another attempt owns the job.
    """
    return Call(
        "select pgqueue.pause_until(%s, %s, %s, %s, %s)",
        (job_id, token, signal_name, timeout, on_timeout),
        nothing,
        repeatable=True,
    )


def _json(value: object) -> str | None:
    if value is None:
        return None
    plain = jsonio.to_json_value(value, "payload")
    return json.dumps(plain, ensure_ascii=False, allow_nan=False)
