"""One job to enqueue, as the JSON object that pgqueue.enqueue_many() takes."""

from __future__ import annotations

import datetime as dt
import math
import secrets
import time
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from uuid import UUID

from pgqueue import jsonio
from pgqueue.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from pgqueue.calls.producer import NewJob

__all__ = ["EnqueueOptions", "FollowUpOptions", "follow_up", "new_job_id", "seconds_of"]

# W3C trace context: a follow-up job belongs to the trace of the job that asked for it.
TRACE_HEADERS = ("traceparent", "tracestate", "baggage")
# The bound of jobs_timeout_check, and of extending a run.
SECONDS_MAX = 30 * 86_400
# A delay beyond this is a slip of units, and timedelta arithmetic overflows soon after.
DELAY_SECONDS_MAX = 10 * 366 * 86_400


class EnqueueOptions(TypedDict, total=False):
    """
    What may be said about a job beside its type and payload; None and absent mean the default.

    Attributes:
        job_id: Chosen by the caller instead of drawn.
        queue: Instead of the type's.
        priority: 0 high, 1 normal, 2 low, 3 bulk.
        run_at: Not before this aware time.
        delay: Instead of run_at: so long after it is enqueued, by the database's clock; in seconds
            or as a timedelta.
        expires_at: Do not start after this aware time.
        deadline_at: Finish by this aware time, over all attempts, or fail.
        max_attempts: Instead of the type's.
        timeout: Instead of the type's, in seconds or as a timedelta.
        idempotency_key: A second job with this key is the same job.
        unique_key: At most one unfinished job has this key.
        notify: NOTIFY when it finishes; `wait_for` then hears it at once.
        feed: When it finishes, `take_completions` of this feed hands it out.
        callback_url: When it finishes, a signed POST goes there.
        depends_on: Wait until these jobs have succeeded: their ids; within one `enqueue_many` also
            the NewJob objects themselves.
        on_parent_failure: When one of them has not: `fail` (the default), or `run` once all have
            finished.
        concurrency_key: Counted together by limits of kind key, for example the customer.
        ordering_key: Jobs with this key run one after another, in order of arrival.
        ordering_on_failure: When it fails, those after it: `skip` it (the default), or `block`
            until it is retried.
        batch_id: The batch that it belongs to.
        headers: Joined with the trace context of the job that enqueues.
    """

    job_id: UUID | None
    queue: str | None
    priority: int | None
    run_at: dt.datetime | None
    delay: float | dt.timedelta | None
    expires_at: dt.datetime | None
    deadline_at: dt.datetime | None
    max_attempts: int | None
    timeout: float | dt.timedelta | None
    idempotency_key: str | None
    unique_key: str | None
    notify: bool | None
    feed: str | None
    callback_url: str | None
    depends_on: Sequence[UUID | NewJob] | None
    on_parent_failure: Literal["fail", "run"] | None
    concurrency_key: str | None
    ordering_key: str | None
    ordering_on_failure: Literal["skip", "block"] | None
    batch_id: UUID | None
    headers: Mapping[str, object] | None


class FollowUpOptions(EnqueueOptions, total=False):
    """
    What may be said about a job that another one enqueues.

    Attributes:
        same_batch: It belongs to the batch of that one, if that has a batch.
    """

    same_batch: bool


def follow_up(
    job_type: str,
    payload: object,
    *,
    tenant: str | None = None,
    parent: Mapping[str, object] | None = None,
    **options: Unpack[FollowUpOptions],
) -> dict[str, Any]:
    """
    Build the object; only what was given is in it. An id is not drawn: see `new_job_id`.

    Args:
        job_type: The new job's type.
        payload: A JSON object, a dataclass or a model.
        tenant: The tenant it belongs to.
        parent: The headers of the job that enqueues; only its trace context is passed on.
        **options: See FollowUpOptions.

    Raises:
        InvalidArgument: An unknown option, a naive time, a span out of bounds, a delay beside
            run_at, a payload that is no object, or what JSON cannot hold.
    """
    unknown = options.keys() - FollowUpOptions.__annotations__.keys()
    if unknown:
        raise InvalidArgument(f"enqueue has no option {min(unknown)}")
    body = jsonio.to_json_value(payload, "payload")
    if not isinstance(body, dict):
        raise InvalidArgument(f"payload must be an object, not {type(payload).__name__}")
    row: dict[str, Any] = {"job_type": job_type, "payload": body}
    for name, value in options.items():
        if value is not None:
            key, read = _READ.get(name, (name, _as_it_is))
            row[key] = read(name, value)
    if "delay_seconds" in row and "run_at" in row:
        raise InvalidArgument("give run_at or delay, not both")
    row |= {"tenant_id": tenant, "headers": _headers(parent, options.get("headers"))}
    return {key: item for key, item in row.items() if item is not None}


def new_job_id() -> UUID:
    """Draw a UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def seconds_of(name: str, value: float | dt.timedelta, *, seconds_max: int = SECONDS_MAX) -> float:
    """
    Read a span given in seconds or as a timedelta.

    Raises:
        InvalidArgument: Not a span, not above zero, or beyond *seconds_max*.
    """
    if isinstance(value, dt.timedelta):
        seconds = value.total_seconds()
    elif type(value) in {int, float}:
        seconds = value
    else:
        raise InvalidArgument(f"{name} must be seconds or a timedelta, not {type(value).__name__}")
    if not math.isfinite(seconds) or not 0 < seconds <= seconds_max:
        raise InvalidArgument(
            f"{name} must be above 0 and at most {seconds_max} seconds, not {seconds:g}"
        )
    return seconds


def _as_it_is(_: str, value: Any) -> Any:
    return value


def _as_text(_: str, value: object) -> str:
    return str(value)


def _parents(name: str, given: Sequence[UUID | NewJob]) -> list[str] | None:
    for one in given:
        if not isinstance(one, UUID):
            raise InvalidArgument(
                f"{name} takes job ids (UUID), not {type(one).__name__}",
                hint="A NewJob is known only within the enqueue_many() that it is enqueued with.",
            )
    return [str(one) for one in given] or None


# Sent as a delay, not as a time: the server's clock counts, ours may be off by more than the delay.
def _delay(name: str, delay: float | dt.timedelta) -> float | None:
    return seconds_of(name, delay, seconds_max=DELAY_SECONDS_MAX) if delay else None


def _aware(name: str, value: object) -> str:
    if not isinstance(value, dt.datetime) or value.tzinfo is None:
        raise InvalidArgument(
            f"{name} must be a datetime with a time zone", hint="Add tzinfo=datetime.UTC."
        )
    return value.isoformat()


def _headers(
    parent: Mapping[str, object] | None, given: Mapping[str, object] | None
) -> dict[str, Any] | None:
    if not parent and not given:
        return None
    trace = {name: parent[name] for name in TRACE_HEADERS if name in parent} if parent else {}
    headers: dict[str, Any] = jsonio.to_json_value({**trace, **(given or {})}, "headers")
    return headers or None


# The key of the object and what reads it, where an option's own name and value will not do.
_READ: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "job_id": ("id", _as_text),
    "run_at": ("run_at", _aware),
    "delay": ("delay_seconds", _delay),
    "expires_at": ("expires_at", _aware),
    "deadline_at": ("deadline_at", _aware),
    "timeout": ("timeout_seconds", seconds_of),
    "depends_on": ("depends_on", _parents),
    "batch_id": ("batch_id", _as_text),
    "same_batch": ("same_batch", lambda _, value: value or None),
}
