"""The feed of finished jobs: take, and acknowledge."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID  # noqa: TC003  # Completion's types, for get_type_hints, too

from pgqueue.calls.core import Call, scalar
from pgqueue.follow_up import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgqueue.calls.core import Row

__all__ = ["Completion", "ack_completions", "take_completions"]


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


def _decode_completions(rows: list[Row]) -> list[Completion]:
    return [Completion(**cast("dict[str, Any]", row)) for row in rows]
