"""Whether a figure is what it should be."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgqueue.bench.model import Of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgqueue.bench.model import Aim

__all__ = ["Verdict", "reached"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    One aim, and what was reached.

    Attributes:
        value: The median over the runs.
    """

    aim: Aim
    value: float

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.value >= self.aim.bound if self.aim.least else self.value <= self.aim.bound

    @property
    def missed_by(self) -> float:
        """As a share of the aim; 0 if it was met."""
        return 0.0 if self.met else abs(self.value / self.aim.bound - 1)

    def __str__(self) -> str:
        of = "" if self.aim.of is Of.ITSELF else f" {self.aim.of.value}"
        aim = f"{'at least' if self.aim.least else 'at most'} {self.aim.bound:,g}{of}"
        end = "met" if self.met else f"missed by {self.missed_by:.0%}"
        return f"{aim}: {_short(self.value)}, {end}"

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "bound": self.aim.bound,
            "least": self.aim.least,
            "of": self.aim.of.value,
            "value": self.value,
            "met": self.met,
            "missed_by": self.missed_by,
            "text": str(self),
        }


def reached(
    aim: Aim, own: Mapping[int, float], others: Sequence[Mapping[int, float]]
) -> Verdict | None:
    """
    Judge a case by an aim; None if what it is compared with was not measured.

    Args:
        aim: The aim.
        own: The case's values, by run.
        others: Those that it is compared with; of several the least counts, run by run.
    """
    found = []
    for run, value in own.items():
        beside = [other[run] for other in others if other.get(run)]
        match aim.of:
            case Of.ITSELF:
                found.append(value)
            case _ if not beside or not value:
                pass
            case Of.ABOVE_FLOOR:
                found.append(value - beside[0])
            case Of.PEER:
                found.append(beside[0] / value)
            case Of.FLOOR | Of.BEST_PEER:
                found.append(value / min(beside))
    return Verdict(aim, statistics.median(found)) if found else None


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004
