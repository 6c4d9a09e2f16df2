"""A report as the table of a README."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from pgqueue.bench.report import number
from pgqueue.bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgqueue.bench.report import Line, Report

__all__ = ["markdown"]

_HEAD = ("workload", "system", "case", "median (least - most)", "of its floor", "aim: reached")


def markdown(report: Report) -> str:
    """
    One row per case, what it rests on, and what was not measured.

    Args:
        report: Of one run, or of several.
    """
    order = {name: n for n, name in enumerate(WORKLOADS)}
    lines = sorted(report.lines(), key=lambda line: order.get(line.workload, len(order)))
    rows = [_cells(list(found)) for _, found in groupby(lines, key=_case)]
    met = [verdict.met for line in lines for verdict in line.verdicts]
    told = [f"{name}: {value}" for name, value in report.facts.items()]
    text = [_row(_HEAD), _row(["---"] * len(_HEAD)), *map(_row, rows), ""]
    if met:
        text += [f"{sum(met)} of {len(met)} aims met.", ""]
    text += [f"- {line}" for line in told]
    text += [
        f"- not measured: {found.case.workload}, {found.case.system}, {found.case.name}:"
        f" {found.reason}"
        for found in report.missing
    ]
    return "\n".join(text)


def _case(line: Line) -> tuple[str, str, str]:
    return line.workload, line.system, line.case


def _cells(lines: Sequence[Line]) -> list[str]:
    first = lines[0]
    figures = [_figure(line) for line in lines]
    return [
        first.workload,
        first.system,
        first.case,
        ", ".join(figures),
        ", ".join(
            f"{line.metric} {line.ratio:.2f}"
            for line in lines
            if line.ratio is not None and line.unit
        ),
        "; ".join(f"{line.metric} {line.told}" for line in lines if line.verdicts),
    ]


def _figure(line: Line) -> str:
    spread = ""
    if len(line.values) > 1:
        spread = f" ({number(line.least)} - {number(line.most)})"
    return f"{line.metric} {number(line.median)}{' ' * bool(line.unit)}{line.unit}{spread}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
