"""The calls of a producer: enqueue, look at a job, wait for it."""

from __future__ import annotations

import datetime as dt  # JobStatus' types, for get_type_hints, too
import json
import random
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast
from uuid import UUID  # noqa: TC003  # as above

from pgqueue.calls.core import Call, Pause, scalar
from pgqueue.errors import DatabaseUnavailable, InvalidArgument, JobNotFound, WaitTimeout
from pgqueue.follow_up import EnqueueOptions, follow_up, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack

    from pgqueue.calls.core import Row, Script

__all__ = [
    "Completion",
    "Enqueued",
    "JobOptions",
    "JobStatus",
    "NewJob",
    "OnDuplicate",
    "ack_completions",
    "enqueue",
    "enqueue_many",
    "new_job",
    "persist",
    "status",
    "take_completions",
    "wait_until_finished",
]

OnDuplicate: TypeAlias = Literal["ignore", "replace", "debounce", "merge"]
FINISHED = frozenset({"succeeded", "partial", "failed", "cancelled"})

# The first look comes soon, for short jobs; a long job costs one indexed look per second.
_PAUSE_SECONDS_MIN = 0.02
_PAUSE_SECONDS_MAX = 1.0
_PAUSE_FACTOR = 1.5

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
    params = _ABSENT | job
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
    parents = job.options.get("depends_on") or ()
    ids = [one for one in parents if not isinstance(one, NewJob)]
    row = job_row(NewJob(job.job_type, job.payload, job.options | {"depends_on": ids}))
    if job.options.get("job_id") is None:
        del row["id"]
    if parents:
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


@dataclass(frozen=True, slots=True)
class Completion:
    """
    One finished job, as a feed hands it out.

    Attributes:
        completion_id: For `ack_completions`.
        result: None also when the job was retried since.
        taken: How often it was handed out, this time included.
    """

    completion_id: int
    job_id: UUID
    job_type: str
    status: str
    finished_at: dt.datetime
    result: Any
    result_url: str | None
    errors: list[dict[str, Any]] | None
    idempotency_key: str | None
    taken: int


def take_completions(
    feed: str, limit: int = 100, *, lease: float | dt.timedelta = 60.0
) -> Call[list[Completion]]:
    """
    Take finished jobs that named *feed*; what is not acknowledged within *lease* comes again.

    In a transaction of the caller's, with `ack_completions` and his own writes, each comes once.

    Args:
        feed: As the jobs named it.
        limit: At most so many.
        lease: In seconds or as a timedelta.
    """
    return Call(
        "select * from pgqueue.take_completions(%s, %s, %s)",
        (feed, limit, dt.timedelta(seconds=seconds_of("lease", lease))),
        _decode_completions,
        by_name=True,
    )


def ack_completions(feed: str, completion_ids: Iterable[int]) -> Call[int]:
    """
    Acknowledge completions: they do not come again. Answers how many there were.

    Args:
        feed: Where they were taken from.
        completion_ids: Theirs.
    """
    return Call(
        "select pgqueue.ack_completions(%s, %s::bigint[])",
        (feed, list(completion_ids)),
        scalar,
        repeatable=True,
    )


_STATUS_COLUMNS = tuple(column.name for column in fields(JobStatus))


def _decode_completions(rows: list[Row]) -> list[Completion]:
    return [Completion(**cast("dict[str, Any]", row)) for row in rows]


def _decode_enqueued(rows: list[Row]) -> list[Enqueued]:
    return [Enqueued(job_id, inserted) for _, job_id, inserted in rows]


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _interval(seconds: float | None) -> dt.timedelta | None:
    return None if seconds is None else dt.timedelta(seconds=seconds)
