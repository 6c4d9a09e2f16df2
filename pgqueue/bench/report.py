"""What was measured: medians and ratios, as rows, as a Markdown table, as JSON."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgqueue.bench.model import Case, Sample

__all__ = ["Line", "Missing", "Report", "number"]


@dataclass(frozen=True, slots=True)
class Missing:
    """
    A case without figures.

    Attributes:
        failed: It should have worked; otherwise this machine or server cannot do it.
    """

    case: Case
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Line:
    """
    One metric of one case over all runs.

    Attributes:
        ratio: The median of the runs' ratios to the floor; None without one.
        floor: What the floor is.
    """

    workload: str
    system: str
    case: str
    metric: str
    unit: str
    median: float
    least: float
    most: float
    runs: int
    ratio: float | None
    floor: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """
    The result of a benchmark.

    Attributes:
        facts: Versions, settings, the machine.
    """

    samples: tuple[Sample, ...]
    missing: tuple[Missing, ...]
    facts: dict[str, str]

    @property
    def failed(self) -> bool:
        """Whether a case failed that should have worked."""
        return any(found.failed for found in self.missing)

    def lines(self) -> list[Line]:
        """One per case and metric, in the order in which they were measured."""
        groups: dict[tuple[Case, str], list[Sample]] = {}
        for sample in self.samples:
            groups.setdefault((sample.case, sample.figure.metric), []).append(sample)
        return [self._line(case, metric, found) for (case, metric), found in groups.items()]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "facts": self.facts,
            "figures": [asdict(line) for line in self.lines()],
            "missing": [
                {
                    "workload": found.case.workload,
                    "system": found.case.system,
                    "case": found.case.name,
                    "reason": found.reason,
                    "failed": found.failed,
                }
                for found in self.missing
            ],
        }

    def markdown(self) -> str:
        """For a README: one table, and what it rests on."""
        head = ["workload", "system", "case", "figure", "median", "min - max", "of the floor"]
        rows = [
            [
                line.workload,
                line.system,
                line.case,
                line.metric,
                f"{number(line.median)} {line.unit}",
                f"{number(line.least)} - {number(line.most)}",
                "" if line.ratio is None else f"{line.ratio:.2f}",
            ]
            for line in self.lines()
        ]
        told = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        text = [_row(head), _row(["---"] * 4 + ["---:"] * 3), *map(_row, rows), "", told, ""]
        text += [f"- {_place(found)}: not measured, {found.reason}" for found in self.missing]
        return "\n".join(text).rstrip()

    def _line(self, case: Case, metric: str, found: list[Sample]) -> Line:
        values = [sample.figure.value for sample in found]
        return Line(
            workload=case.workload,
            system=case.system,
            case=case.name,
            metric=metric,
            unit=found[0].figure.unit,
            median=statistics.median(values),
            least=min(values),
            most=max(values),
            runs=len(values),
            ratio=self._ratio(case, metric, found),
            floor=case.floor,
        )

    def _ratio(self, case: Case, metric: str, found: list[Sample]) -> float | None:
        floors = {
            sample.run: sample.figure.value
            for sample in self.samples
            if (sample.case.workload, sample.case.name) == (case.workload, case.floor)
            and sample.figure.metric == metric
        }
        ratios = [
            sample.figure.value / floors[sample.run] for sample in found if floors.get(sample.run)
        ]
        return statistics.median(ratios) if ratios else None


def number(value: float) -> str:
    """Three figures that count: `12,345`, `12.3`, `0.42`."""
    size = abs(value)
    if size >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    if size >= 10:  # noqa: PLR2004
        return f"{value:.1f}"
    return f"{value:.2f}"


def _place(found: Missing) -> str:
    return f"{found.case.workload}, {found.case.system}, {found.case.name}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
