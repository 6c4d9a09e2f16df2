"""The calls of a producer: enqueue one job or many."""

from __future__ import annotations

import datetime as dt
import json
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast
from uuid import UUID  # noqa: TC003  # Enqueued's types, for get_type_hints, too

from pgqueue.calls.core import Call, Pause, scalar
from pgqueue.errors import DatabaseUnavailable, InvalidArgument
from pgqueue.follow_up import EnqueueOptions, follow_up, new_job_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack

    from pgqueue.calls.core import Row, Script

__all__ = [
    "Enqueued",
    "JobOptions",
    "NewJob",
    "OnDuplicate",
    "enqueue",
    "enqueue_many",
    "new_job",
    "persist",
]

OnDuplicate: TypeAlias = Literal["ignore", "replace", "debounce", "merge"]

# The first repetition comes at once: most often only the connection was stale.
_REPEAT_SECONDS_MIN = 0.05
_REPEAT_SECONDS_MAX = 2.0

T = TypeVar("T")


class JobOptions(EnqueueOptions, total=False):
    """
    What may be said about a job beside its type and payload; None and absent mean the default.

    Attributes:
        tenant_id: The tenant that it belongs to.
    """

    tenant_id: str | None


@dataclass(frozen=True, slots=True)
class NewJob:
    """
    One job for `enqueue_many`.

    Attributes:
        job_type: Names the handler.
        payload: A JSON object, a dataclass or a model.
        options: As the keyword arguments of `enqueue`.
    """

    job_type: str
    payload: object = None
    options: JobOptions = field(default_factory=JobOptions)


@dataclass(frozen=True, slots=True)
class Enqueued:
    """
    The job that serves a request.

    Attributes:
        id: Its id.
        inserted: False when an earlier job serves it: same idempotency key or unique key.
    """

    id: UUID
    inserted: bool


_ENQUEUE = """
select pgqueue.enqueue(
    p_job_type => %(job_type)s,
    p_payload => %(payload)s::jsonb,
    p_queue => %(queue)s,
    p_priority => %(priority)s,
    p_run_at => %(run_at)s::timestamptz,
    p_delay => %(delay)s,
    p_expires_at => %(expires_at)s::timestamptz,
    p_max_attempts => %(max_attempts)s,
    p_timeout => %(timeout)s,
    p_idempotency_key => %(idempotency_key)s,
    p_unique_key => %(unique_key)s,
    p_tenant_id => %(tenant_id)s,
    p_headers => %(headers)s::jsonb,
    p_on_duplicate => %(on_duplicate)s,
    p_id => %(id)s::uuid,
    p_notify => %(notify)s,
    p_feed => %(feed)s,
    p_callback_url => %(callback_url)s,
    p_depends_on => %(depends_on)s::uuid[],
    p_on_parent_failure => %(on_parent_failure)s,
    p_concurrency_key => %(concurrency_key)s,
    p_ordering_key => %(ordering_key)s,
    p_ordering_on_failure => %(ordering_on_failure)s,
    p_batch_id => %(batch_id)s::uuid,
    p_deadline_at => %(deadline_at)s::timestamptz)
"""


_ABSENT: dict[str, Any] = dict.fromkeys(
    (
        "queue",
        "priority",
        "run_at",
        "expires_at",
        "max_attempts",
        "idempotency_key",
        "unique_key",
        "tenant_id",
        "notify",
        "feed",
        "callback_url",
        "depends_on",
        "on_parent_failure",
        "concurrency_key",
        "ordering_key",
        "ordering_on_failure",
        "batch_id",
        "deadline_at",
    )
)


def enqueue(
    job_type: str,
    payload: object = None,
    *,
    on_duplicate: OnDuplicate = "ignore",
    **options: Unpack[JobOptions],
) -> Call[UUID]:
    """
    Enqueue one job; answers the id of the job that serves the request.

    The id is drawn here, so that a call whose reply was lost can be repeated.

    Args:
        job_type: Names the handler.
        payload: A JSON object, a dataclass or a model.
        on_duplicate: What becomes of an unfinished job with the same unique_key, as
            sql/functions/enqueue.sql says: ignore, replace, debounce or merge.
        **options: See JobOptions.

    Raises:
        InvalidArgument: What cannot be a job; the message names the field.
    """
    job = job_row(NewJob(job_type, payload, options))
    params = _ABSENT | {"id": new_job_id()} | job
    params |= {
        "payload": _json(job["payload"]),
        "headers": _json(job.get("headers")),
        "delay": _interval(job.get("delay_seconds")),
        "timeout": _interval(job.get("timeout_seconds")),
        "on_duplicate": on_duplicate,
    }
    # Merging a second time would append the arrays again; everything else finds the id.
    return Call(_ENQUEUE, params, scalar, repeatable=on_duplicate != "merge")


def new_job(job_type: str, payload: object = None, **options: Unpack[JobOptions]) -> NewJob:
    """
    Describe one job for `enqueue_many`.

    Args:
        job_type: Names the handler.
        payload: As for `enqueue`.
        **options: See JobOptions.
    """
    return NewJob(job_type, payload, options)


def persist(call: Call[T], *, seconds: float) -> Script[T]:
    """
    Repeat *call*, if it is repeatable, while the database is unavailable.

    Args:
        call: What to run.
        seconds: No repetition starts after this time.

    Raises:
        DatabaseUnavailable: It still is.
    """
    deadline = time.monotonic() + seconds
    pause = _REPEAT_SECONDS_MIN
    while True:
        try:
            return cast("T", (yield call))
        except DatabaseUnavailable:
            wait = random.uniform(pause / 2, pause)  # noqa: S311  # jitter, not a secret
            if not call.repeatable or time.monotonic() + wait > deadline:
                raise
        yield Pause(wait)
        pause = min(pause * 2, _REPEAT_SECONDS_MAX)


def enqueue_many(
    jobs: Iterable[NewJob], *, on_duplicate: OnDuplicate = "ignore"
) -> Call[list[Enqueued]]:
    """
    Enqueue jobs in one round trip and one transaction; answers in their order.

    Jobs without keys go in with one INSERT, those with keys one by one. No ids are drawn here: a
    call whose reply was lost may have stored its jobs, and repeating it stores those without an
    idempotency key again.

    Args:
        jobs: What to enqueue.
        on_duplicate: As for `enqueue`.

    Raises:
        InvalidArgument: What cannot be a job; the message names the field and the job's number.
    """
    rows: list[dict[str, Any]] = []
    given = list(jobs)
    names = _names_of_parents(given)
    for number, job in enumerate(given, start=1):
        try:
            row = _row_of_many(job, names)
        except InvalidArgument as exc:
            raise InvalidArgument(f"job {number}: {exc.message}", hint=exc.hint) from exc
        rows.append(row)
    return Call(
        "select n, id, inserted from pgqueue.enqueue_many(%s::jsonb, %s) order by n",
        (_json(rows), on_duplicate),
        _decode_enqueued,
    )


def _names_of_parents(jobs: list[NewJob]) -> dict[int, str]:
    """Names by which the server knows the jobs that others depend on; keyed by their id()."""
    there = {id(job): str(number) for number, job in enumerate(jobs, start=1)}
    wanted = {
        id(one)
        for job in jobs
        for one in job.options.get("depends_on") or ()
        if isinstance(one, NewJob)
    }
    return {key: name for key, name in there.items() if key in wanted}


def _row_of_many(job: NewJob, names: dict[int, str]) -> dict[str, Any]:
    parents = job.options.get("depends_on")
    if not parents:
        row = job_row(job)
    else:
        ids = [one for one in parents if not isinstance(one, NewJob)]
        row = job_row(NewJob(job.job_type, job.payload, job.options | {"depends_on": ids}))
        try:
            row["depends_on"] = [
                names[id(one)] if isinstance(one, NewJob) else str(one) for one in parents
            ]
        except KeyError:
            raise InvalidArgument("depends_on holds a NewJob that is not among the jobs") from None
    if id(job) in names:
        row["name"] = names[id(job)]
    return row


def job_row(job: NewJob) -> dict[str, Any]:
    """
    Build the object that pgqueue.enqueue_many() takes; only what was given is in it.

    Raises:
        InvalidArgument: What cannot be a job.
    """
    if not isinstance(job.job_type, str):
        raise InvalidArgument(f"job_type must be a string, not {type(job.job_type).__name__}")
    options = JobOptions(**job.options)
    if "same_batch" in options:
        raise InvalidArgument("same_batch is for jobs that a handler enqueues: give batch_id")
    tenant = options.pop("tenant_id", None)
    payload = {} if job.payload is None else job.payload
    return follow_up(job.job_type, payload, tenant=tenant, **cast("EnqueueOptions", options))


def _decode_enqueued(rows: list[Row]) -> list[Enqueued]:
    return [Enqueued(job_id, inserted) for _, job_id, inserted in rows]


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _interval(seconds: float | None) -> dt.timedelta | None:
    return None if seconds is None else dt.timedelta(seconds=seconds)
