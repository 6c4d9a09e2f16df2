"""The calls of maintenance: what workers do in passing."""

from __future__ import annotations

import datetime as dt  # noqa: TC003  # Promoted's types, for get_type_hints, too
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgqueue.calls.core import Call, scalar

if TYPE_CHECKING:
    from pgqueue.calls.core import Row

__all__ = [
    "Maintained",
    "Promoted",
    "expire",
    "forget_workers",
    "maintain",
    "merge_stats",
    "promote",
    "rescue",
    "retain",
]


@dataclass(frozen=True, slots=True)
class Promoted:
    """How many jobs came due, the floor for the next call, and when the next one is due."""

    moved: int
    next_floor: dt.datetime | None
    next_due_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Maintained:
    """What one round of maintenance did."""

    promoted: int
    next_floor: dt.datetime | None
    next_due_at: dt.datetime | None
    rescued: int
    expired: int
    removed: int
    merged: int
    enqueued: int


def maintain(limit: int = 1000, *, floor: dt.datetime | None = None) -> Call[Maintained]:
    """One bounded round of everything below."""
    return Call("select * from pgqueue.maintain(%s, %s)", (limit, floor), _decode_maintained)


def promote(limit: int = 1000, *, floor: dt.datetime | None = None) -> Call[Promoted]:
    """Move due jobs from scheduled to ready."""
    return Call("select * from pgqueue.promote(%s, %s)", (limit, floor), _decode_promoted)


def rescue(limit: int = 1000) -> Call[int]:
    """Take back the jobs of dead workers."""
    return Call("select pgqueue.rescue(%s)", (limit,), scalar)


def expire(limit: int = 1000) -> Call[int]:
    """Cancel waiting jobs that must not start any more."""
    return Call("select pgqueue.expire(%s)", (limit,), scalar)


def retain(limit: int = 1000) -> Call[int]:
    """Remove finished jobs past their retention."""
    return Call("select pgqueue.retain(%s)", (limit,), scalar)


def merge_stats(limit: int = 50_000) -> Call[int]:
    """Fold the statistics."""
    return Call("select pgqueue.merge_stats(%s)", (limit,), scalar)


def forget_workers() -> Call[int]:
    """Remove the rows of workers that stopped or died more than a day ago."""
    return Call("select pgqueue.forget_workers()", (), scalar)


def _decode_maintained(rows: list[Row]) -> Maintained:
    return Maintained(*rows[0])


def _decode_promoted(rows: list[Row]) -> Promoted:
    return Promoted(*rows[0])
