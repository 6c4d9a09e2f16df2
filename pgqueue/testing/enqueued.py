"""What is in the queue: lists of it, and assertions that say what they found instead."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue import jsonio
from pgqueue.calls import Call, run
from pgqueue.calls.job_status import FINISHED
from pgqueue.connection import connect

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping
    from uuid import UUID

__all__ = ["EnqueuedJob", "assert_enqueued", "connected", "enqueued", "refute_enqueued"]

SHOWN_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedJob:
    """A job of the queue, as far as a test asks."""

    id: UUID
    job_type: str
    queue: str
    status: str
    priority: int
    payload: dict[str, Any]
    headers: dict[str, Any] | None
    run_at: dt.datetime
    idempotency_key: str | None
    unique_key: str | None
    tenant_id: str | None


def enqueued(
    where: str | psycopg.Connection[Any],
    job_type: str | None = None,
    *,
    payload: Mapping[str, object] | None = None,
    queue: str | None = None,
    finished: bool = False,
) -> list[EnqueuedJob]:
    """
    List jobs in the order of their ids.

    Args:
        where: A connection, which sees what its own transaction enqueued; or a DSN.
        job_type: Only of this type.
        payload: Only those whose payload contains this, as jsonb's `@>` tells it: some keys of an
            object, some elements of an array.
        queue: Only of this queue.
        finished: Finished jobs too.

    Raises:
        InvalidArgument: JSON cannot hold *payload*.
    """
    subset = None if payload is None else jsonio.dump_payload(payload)
    call = Call(
        "select s.id, s.job_type, s.queue, s.status, s.priority, j.payload, j.headers, s.run_at,"
        " s.idempotency_key, s.unique_key, s.tenant_id"
        " from pgqueue.job_status s join pgqueue.jobs j on j.id = s.id"
        " where (%(job_type)s::text is null or s.job_type = %(job_type)s)"
        " and (%(queue)s::text is null or s.queue = %(queue)s)"
        " and (%(payload)s::jsonb is null or j.payload @> %(payload)s)"
        " and (%(finished)s or s.status <> all (%(ended)s)) order by s.id",
        {
            "job_type": job_type,
            "queue": queue,
            "payload": subset,
            "finished": finished,
            "ended": sorted(FINISHED),
        },
        lambda rows: [EnqueuedJob(**row) for row in rows],
        by_name=True,
    )
    with connected(where) as connection:
        return run(connection, call)


def assert_enqueued(
    where: str | psycopg.Connection[Any],
    job_type: str,
    *,
    payload: Mapping[str, object] | None = None,
    queue: str | None = None,
    count: int | None = None,
) -> list[EnqueuedJob]:
    """
    Make sure that such a job waits or runs; return what was found.

    Args:
        where: As for `enqueued`.
        job_type: Its type.
        payload: What its payload contains.
        queue: Its queue.
        count: Exactly so many; None means one or more.

    Raises:
        AssertionError: Not so; the message lists what there is.
    """
    __tracebackhide__ = True
    found = enqueued(where, job_type, payload=payload, queue=queue)
    if (count is None and not found) or (count is not None and len(found) != count):
        wanted = "one or more" if count is None else str(count)
        raise AssertionError(
            f"expected {wanted} of {_asked(job_type, payload, queue)}, found {len(found)}."
            f" {_there_is(where, job_type)}"
        )
    return found


def refute_enqueued(
    where: str | psycopg.Connection[Any],
    job_type: str | None = None,
    *,
    payload: Mapping[str, object] | None = None,
    queue: str | None = None,
) -> None:
    """
    Make sure that no such job waits or runs.

    Raises:
        AssertionError: There is one; the message lists what there is.
    """
    __tracebackhide__ = True
    found = enqueued(where, job_type, payload=payload, queue=queue)
    if found:
        raise AssertionError(
            f"expected none of {_asked(job_type, payload, queue)}, found {len(found)}."
            f" {_there_is(where, job_type)}"
        )


@contextmanager
def connected(where: str | psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """Use the caller's connection as it is, or open one that is closed again."""
    if isinstance(where, psycopg.Connection):
        yield where
        return
    with connect(where, application_name="pgqueue testing") as connection:
        yield connection


def _asked(job_type: str | None, payload: Mapping[str, object] | None, queue: str | None) -> str:
    parts = [job_type or "any job"]
    if payload is not None:
        parts.append(f"with {jsonio.dump_payload(payload)}")
    if queue is not None:
        parts.append(f"in queue {queue}")
    return " ".join(parts)


def _there_is(where: str | psycopg.Connection[Any], job_type: str | None) -> str:
    jobs = enqueued(where)
    alike = [job for job in jobs if job_type in {None, job.job_type}]
    lines = [
        f"\n  {job.job_type} in queue {job.queue}, {job.status}: {jsonio.dumps(job.payload)}"
        for job in alike[:SHOWN_MAX]
    ]
    counts = Counter(job.job_type for job in jobs if job not in alike)
    lines += [f"\n  {n} of {name}" for name, n in sorted(counts.items())]
    return f"In the queue: {''.join(lines) or 'nothing'}"
