"""The calls of a worker: claim, report, heartbeat, the doorbell."""

from __future__ import annotations

import datetime as dt  # noqa: TC003  # the fields' types, for get_type_hints
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pgqueue.calls.claimed import Claimed, claimed_rows, id_array, int_array, text_array
from pgqueue.calls.core import Call, nothing, records, scalar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgqueue.calls.claimed import TextArray
    from pgqueue.calls.core import Row

__all__ = [
    "Claimed",
    "Company",
    "Exchanged",
    "Heartbeat",
    "Place",
    "Reported",
    "SignedCallback",
    "cancel_running",
    "claim",
    "claim_job",
    "complete",
    "exchange",
    "extend",
    "fail",
    "heartbeat",
    "leave",
    "live_workers",
    "progress",
    "register_job_types",
    "register_worker",
    "release",
    "release_strays",
    "report",
    "rest",
    "settle",
    "sign_callback",
    "snooze",
    "stop_worker",
]


@dataclass(frozen=True, slots=True)
class Reported:
    """
    The answer to an outcome that was no plain completion, or was refused.

    Attributes:
        refused: Why it changed nothing (lease_lost); None = it did.
        status: What it led to: succeeded, partial, retrying, failed, cancelled, snoozed, paused,
            released.
    """

    job_id: UUID
    token: int
    refused: str | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The two answers of exchange."""

    reported: list[Reported]
    claimed: list[Claimed]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker hears; *cancel* holds the (job id, token) pairs that should stop."""

    lease_until: dt.datetime
    draining: bool
    cancel: tuple[tuple[UUID, int], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker rests: 0 doorman, above 0 a seat on the bench, -1 poll and try again."""

    queue: str
    queue_hash: int
    place: int


def register_worker(
    name: str,
    *,
    queues: Sequence[str],
    job_types: Sequence[str] | None,
    lease: dt.timedelta,
    instance: UUID,
    meta: Mapping[str, Any] | None = None,
) -> Call[int]:
    """
    Register, or find the id of an earlier call with the same *instance*.

    Raises:
        WorkerGone: That instance was declared dead, or has stopped.
    """
    return Call(
        "select pgqueue.register_worker(%s, %s::text[], %s::text[], %s, %s, %s::jsonb)",
        (name, list(queues), _array(job_types), lease, instance, json.dumps(dict(meta or {}))),
        scalar,
    )


def register_job_types(declarations: Sequence[Mapping[str, Any]]) -> Call[None]:
    """Declare what this worker handles, as pgqueue.register_job_types() says."""
    rows = json.dumps([dict(row) for row in declarations])
    return Call("select pgqueue.register_job_types(%s::jsonb)", (rows,), nothing)


def heartbeat(worker: int) -> Call[Heartbeat]:
    """Renew the lease. Raises WorkerGone when it was given up."""
    return Call("select * from pgqueue.heartbeat(%s)", (worker,), _decode_heartbeat)


def stop_worker(worker: int) -> Call[int]:
    """Say goodbye; answers how many jobs went back."""
    return Call("select pgqueue.stop_worker(%s)", (worker,), scalar)


def claim(
    worker: int,
    *,
    queues: Sequence[str],
    limit: int,
    floors: Sequence[int] | None = None,
    flush: bool = True,
) -> Call[list[Claimed]]:
    """
    Claim up to *limit* jobs; *floors* has four entries per queue (sql/functions/claim.sql).

    Without *flush* a crash of the server may take the claim back, as told there.

    Raises:
        WorkerGone: The worker is unknown, stopped or declared dead, or its lease has ended.
        InvalidArgument: *limit* is not 1 to 10,000.
    """
    return Call(
        "select * from pgqueue.claim(%s, %s::text[], %s, %s::bigint[], %s)",
        (worker, text_array(queues), limit, None if floors is None else int_array(floors), flush),
        claimed_rows,
        raw=True,
    )


def claim_job(worker: int, job_id: UUID) -> Call[Claimed | None]:
    """Claim this one job; None = it is not ready. Raises WorkerGone."""
    sql = "select * from pgqueue.claim_job(%s, %s)"
    return Call(sql, (worker, job_id), _decode_claimed, raw=True)


def report(
    job_ids: Sequence[UUID | bytes],
    tokens: Sequence[int],
    outcomes: Sequence[str | None] | None = None,
) -> Call[list[Reported]]:
    """
    Report a batch; a plain completion is not answered.

    Args:
        job_ids: The jobs, or their `Claimed.key`.
        tokens: Of our attempts, one per job.
        outcomes: JSON text (sql/functions/complete.sql); None = plain success.
    """
    return Call(
        "select * from pgqueue.report(%s::uuid[], %s::bigint[], %s::text[])",
        (id_array(job_ids), int_array(tokens), _texts(outcomes)),
        _decode_reported,
        raw=True,
    )


def exchange(
    worker: int,
    *,
    queues: Sequence[str],
    limit: int,
    floors: Sequence[int] | None,
    job_ids: Sequence[UUID | bytes],
    tokens: Sequence[int],
    outcomes: Sequence[str | None] | None = None,
) -> Call[Exchanged]:
    """
    Report a batch and claim the next in one round trip.

    Raises:
        WorkerGone: As `claim`; then nothing is reported either.
    """
    return Call(
        "select * from pgqueue.exchange(%s, %s::text[], %s, %s::bigint[], %s::uuid[],"
        " %s::bigint[], %s::text[])",
        (
            worker,
            text_array(queues),
            limit,
            None if floors is None else int_array(floors),
            id_array(job_ids),
            int_array(tokens),
            _texts(outcomes),
        ),
        _decode_exchange,
        raw=True,
    )


def complete(
    job_id: UUID,
    token: int,
    *,
    result: str | None = None,
    result_url: str | None = None,
    errors: str | None = None,
    metrics: str | None = None,
    created: str | None = None,
    follow_ups: str | None = None,
) -> Call[str]:
    """Complete in the caller's transaction; all but *result_url* is JSON text. Raises LeaseLost."""
    return Call(
        "select pgqueue.complete(%s, %s, %s::jsonb, %s, %s::jsonb, %s::jsonb, %s::jsonb,"
        " %s::jsonb)",
        (job_id, token, result, result_url, errors, metrics, created, follow_ups),
        scalar,
    )


def fail(
    job_id: UUID,
    token: int,
    *,
    error: str | None = None,
    retryable: bool = True,
    retry_after: dt.timedelta | None = None,
    errors: str | None = None,
    metrics: str | None = None,
) -> Call[str]:
    """End the attempt; answers retrying, failed or cancelled. Raises LeaseLost."""
    return Call(
        "select pgqueue.fail(%s, %s, %s::jsonb, %s, %s, %s::jsonb, %s::jsonb)",
        (job_id, token, error, retryable, retry_after, errors, metrics),
        scalar,
    )


def snooze(job_id: UUID, token: int, *, delay: dt.timedelta) -> Call[None]:
    """Put the job back for later; the attempt does not count. Raises LeaseLost."""
    return Call("select pgqueue.snooze(%s, %s, %s)", (job_id, token, delay), nothing)


def release(job_id: UUID, token: int) -> Call[None]:
    """Give the job back; the attempt does not count. Raises LeaseLost."""
    return Call("select pgqueue.release(%s, %s)", (job_id, token), nothing)


def release_strays(worker: int, known_tokens: Sequence[int]) -> Call[int]:
    """After a lost reply to a claim: give back what *worker* owns and does not know of."""
    return Call(
        "select pgqueue.release_strays(%s, %s::bigint[])", (worker, list(known_tokens)), scalar
    )


def cancel_running(job_id: UUID, token: int, *, reason: str | None = None) -> Call[None]:
    """End the job as cancelled. Raises LeaseLost."""
    return Call("select pgqueue.cancel_running(%s, %s, %s)", (job_id, token, reason), nothing)


def progress(job_id: UUID, token: int, *, percent: float, message: str | None = None) -> Call[None]:
    """Say how far the job is. Raises LeaseLost."""
    return Call(
        "select pgqueue.progress(%s, %s, %s::real, %s)", (job_id, token, percent, message), nothing
    )


def extend(job_id: UUID, token: int, *, by: dt.timedelta) -> Call[dt.datetime]:
    """Move the attempt's deadline to *by* from now. Raises LeaseLost."""
    return Call("select pgqueue.extend(%s, %s, %s)", (job_id, token, by), scalar)


def settle(job_id: UUID, token: int) -> Call[str]:
    """What became of this attempt, after a lost reply: finished, running, ended or lost."""
    return Call("select pgqueue.settle(%s, %s)", (job_id, token), scalar)


@dataclass(frozen=True, slots=True)
class SignedCallback:
    """
    What a delivery sends.

    Attributes:
        signature: None: no secret is known for this host, so nothing may be sent.
    """

    url: str
    webhook_id: str
    timestamp: int
    signature: str | None
    body: str


def sign_callback(job_id: UUID, token: int) -> Call[SignedCallback]:
    """
    Have the database sign a delivery, for the attempt that owns it.

    Raises:
        LeaseLost: Another attempt does, or it is no delivery.
    """
    return Call(
        "select * from pgqueue.sign_callback(%s, %s)",
        (job_id, token),
        lambda rows: SignedCallback(*rows[0]),
    )


def rest(queues: Sequence[str]) -> Call[list[Place]]:
    """Lie down, on the LISTEN connection (sql/functions/doorbell.sql)."""
    return Call("select * from pgqueue.rest(%s::text[])", (list(queues),), records(Place))


def leave(queues: Sequence[str], *, pass_on: bool = False) -> Call[None]:
    """Get up; *pass_on* wakes the next worker on the bench."""
    return Call("select pgqueue.leave(%s::text[], %s)", (list(queues), pass_on), nothing)


@dataclass(frozen=True, slots=True)
class Company:
    """
    The workers that are alive.

    Attributes:
        workers: How many.
        alike: Each that serves a queue of ours handles every job type that we handle.
    """

    workers: int
    alike: bool


def live_workers(worker: int) -> Call[Company]:
    """Who is alive beside *worker*."""
    sql = "select * from pgqueue.live_workers(%s)"
    return Call(sql, (worker,), lambda rows: Company(*rows[0]))


def _array(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _texts(values: Sequence[str | None] | None) -> TextArray | None:
    return None if values is None else text_array(values)


def _decode_heartbeat(rows: list[Row]) -> Heartbeat:
    lease_until, draining, job_ids, tokens = rows[0]
    return Heartbeat(lease_until, draining, tuple(zip(job_ids, tokens, strict=True)))


def _decode_claimed(rows: list[Row]) -> Claimed | None:
    return claimed_rows(rows)[0] if rows else None


def _decode_reported(rows: list[Row]) -> list[Reported]:
    return [Reported(UUID(bytes=key), *more) for key, *more in rows]


def _decode_exchange(rows: list[Row]) -> Exchanged:
    answers = 0
    # The answers to the report come first.
    while answers < len(rows) and (rows[answers][0] is not None or rows[answers][1] is not None):
        answers += 1
    reported = [
        Reported(UUID(bytes=key), token, refused, status)
        for refused, status, key, token, *_ in rows[:answers]
    ]
    return Exchanged(reported, claimed_rows([row[2:] for row in rows[answers:]]))
