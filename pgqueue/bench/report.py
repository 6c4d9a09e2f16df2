"""What was measured: medians, ratios and aims, as rows, as a Markdown table, as JSON."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pgqueue.bench.model import BY_CLIENT, OURS, Of
from pgqueue.bench.verdict import Verdict, reached

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgqueue.bench.model import Aim, Case, Sample

__all__ = ["Line", "Missing", "Report", "number"]

Values = dict[int, float]  # by run
_OTHER = " | "  # between facts that differ from run to run


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
        values: By run.
        ratio: The median of the runs' ratios to the floor; None without one.
        floor: What the floor is.
        verdicts: On the aims that it has.
    """

    workload: str
    system: str
    case: str
    metric: str
    unit: str
    median: float
    least: float
    most: float
    values: Values
    ratio: float | None
    floor: str | None
    verdicts: tuple[Verdict, ...]

    @property
    def told(self) -> str:
        """The aims and what became of them."""
        return "; ".join(map(str, self.verdicts))

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        found = asdict(self)
        found["verdicts"] = [verdict.to_dict() for verdict in self.verdicts]
        return found


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

    @property
    def workloads(self) -> set[str]:
        """Which ones were measured, or tried."""
        cases = [*(sample.case for sample in self.samples), *(one.case for one in self.missing)]
        return {case.workload for case in cases}

    def lines(self) -> list[Line]:
        """One per case and metric, in the order in which they were measured."""
        table: dict[tuple[Case, str], Values] = {}
        units: dict[tuple[Case, str], str] = {}
        for sample in self.samples:
            values = table.setdefault((sample.case, sample.figure.metric), {})
            values[sample.run] = sample.figure.value
            units[sample.case, sample.figure.metric] = sample.figure.unit
        return [
            _line(case, metric, units[case, metric], values, table)
            for (case, metric), values in table.items()
        ]

    def joined(self, later: Report) -> Report:
        """
        Both; what the later one measured counts.

        Args:
            later: The other one. Whole workloads of it replace ours: ratios hold within one run.
        """
        again = later.workloads
        samples = [sample for sample in self.samples if sample.case.workload not in again]
        missing = [found for found in self.missing if found.case.workload not in again]
        facts = dict(self.facts)
        for name, value in later.facts.items():
            known = [*facts.get(name, value).split(_OTHER), *value.split(_OTHER)]
            facts[name] = _OTHER.join(dict.fromkeys(known))
        return Report((*samples, *later.samples), (*missing, *later.missing), facts)

    def to_dict(self) -> dict[str, Any]:
        """For programs, and for `saved.load`."""
        return {
            "facts": self.facts,
            "figures": [line.to_dict() for line in self.lines()],
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


def _line(
    case: Case,
    metric: str,
    unit: str,
    values: Values,
    table: Mapping[tuple[Case, str], Values],
) -> Line:
    floors = _values_of(table, case.workload, metric, name=case.floor)
    ratios = [value / floors[run] for run, value in values.items() if floors.get(run)]
    verdicts = [
        reached(aim, values, _compared(case, aim, table))
        for aim in case.aims
        if aim.metric == metric
    ]
    return Line(
        workload=case.workload,
        system=case.system,
        case=case.name,
        metric=metric,
        unit=unit,
        median=statistics.median(values.values()),
        least=min(values.values()),
        most=max(values.values()),
        values=values,
        ratio=statistics.median(ratios) if ratios else None,
        floor=case.floor,
        verdicts=tuple(verdict for verdict in verdicts if verdict is not None),
    )


def _compared(case: Case, aim: Aim, table: Mapping[tuple[Case, str], Values]) -> list[Values]:
    """The figures that an aim is about, beside the case's own."""
    match aim.of:
        case Of.ITSELF:
            return []
        case Of.FLOOR | Of.ABOVE_FLOOR:
            return [_values_of(table, case.workload, aim.metric, name=case.floor)]
        case Of.PEER:
            return [_values_of(table, case.workload, aim.metric, name=case.name, system=BY_CLIENT)]
        case Of.BEST_PEER:
            return [
                values
                for (other, metric), values in table.items()
                if (other.workload, other.name, metric) == (case.workload, case.name, aim.metric)
                and not other.system.startswith(OURS)
            ]


def _values_of(
    table: Mapping[tuple[Case, str], Values],
    workload: str,
    metric: str,
    *,
    name: str | None,
    system: str | None = None,
) -> Values:
    for (case, found), values in table.items():
        if (case.workload, case.name, found) == (workload, name, metric) and (
            system is None or case.system == system
        ):
            return values
    return {}


def number(value: float) -> str:
    """Three figures that count: `12,345`, `12.3`, `0.42`."""
    size = abs(value)
    if size >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    if size >= 10:  # noqa: PLR2004
        return f"{value:.1f}"
    return f"{value:.2f}"
