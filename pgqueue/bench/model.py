"""Cases, and the figures that measuring them yields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgqueue.bench.stage import Stage

__all__ = [
    "BY_CLIENT",
    "FLOOR",
    "OURS",
    "Aim",
    "Case",
    "Figure",
    "Of",
    "Sample",
    "Unavailable",
    "latencies",
    "percentile",
]

OURS = "pgqueue"
BY_CLIENT = "pgqueue (Python client)"  # measured by the program that measures the peers
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


class Of(Enum):
    """What an aim is a share of."""

    ITSELF = "itself"
    FLOOR = "of the floor"
    ABOVE_FLOOR = "above the floor"
    BEST_PEER = "of the best peer's"
    PEER = "times this peer's"  # ours, measured by the same program, over that of the case


@dataclass(frozen=True, slots=True)
class Aim:
    """
    What a figure should be; always within one run, for the machine's speed drifts.

    Attributes:
        metric: Of the case.
        bound: The number to reach.
        least: Whether more is better.
        of: What the number is compared with.
    """

    metric: str
    bound: float
    least: bool
    of: Of = Of.ITSELF


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
        runs: How often it is measured; None: as often as the settings say.
        schema: False for an empty database.
        aims: What its figures should be.
        seconds: How long one measurement takes, about.
    """

    workload: str
    name: str
    measure: Callable[[Stage], Sequence[Figure]]
    floor: str | None = None
    system: str = OURS
    runs: int | None = None
    schema: bool = True
    aims: tuple[Aim, ...] = ()
    seconds: float = 0.0


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


def latencies(seconds: Sequence[float]) -> list[Figure]:
    """
    p50, p95 and p99 in milliseconds, and how far the last is from the first.

    Args:
        seconds: What was measured.

    Raises:
        Unavailable: Nothing was measured.
    """
    if not seconds:
        raise Unavailable("no job arrived")
    found = [
        Figure(f"p{round(share * 100)}", percentile(seconds, share) * 1_000, "ms")
        for share in (0.5, 0.95, 0.99)
    ]
    return [*found, Figure("p99 / p50", found[-1].value / found[0].value, "")]
