"""Cases, and the figures that measuring them yields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgqueue.bench.stage import Stage

__all__ = ["FLOOR", "OURS", "Case", "Figure", "Sample", "Unavailable", "latencies", "percentile"]

OURS = "pgqueue"
FLOOR = "PostgreSQL"  # without any queue


class Unavailable(Exception):
    """A case cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One number of one measurement.

    Attributes:
        metric: What it is: `rate`, `p99`, `WAL`.
        unit: `jobs/s`, `ms`, `B/job`.
    """

    metric: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    One thing to measure.

    Attributes:
        workload: Which group takes turns.
        name: Within the workload.
        measure: Does it, in a database of its own, and says how it went.
        floor: The case whose figures of the same run and metric this one is compared with.
        system: Whose speed it is.
        runs_max: For cases that take very long.
        schema: False for an empty database.
    """

    workload: str
    name: str
    measure: Callable[[Stage], Sequence[Figure]]
    floor: str | None = None
    system: str = OURS
    runs_max: int | None = None
    schema: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one run of one case."""

    case: Case
    run: int
    figure: Figure


def percentile(values: Sequence[float], share: float) -> float:
    """
    The nearest-rank percentile.

    Args:
        values: At least one.
        share: 0.99 for p99.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latencies(seconds: Sequence[float], *, suffix: str = "") -> list[Figure]:
    """
    p50, p95 and p99 in milliseconds.

    Args:
        seconds: What was measured.
        suffix: Behind the metrics' names.

    Raises:
        Unavailable: Nothing was measured.
    """
    if not seconds:
        raise Unavailable("no job arrived")
    return [
        Figure(f"p{round(share * 100)}{suffix}", percentile(seconds, share) * 1_000, "ms")
        for share in (0.5, 0.95, 0.99)
    ]
