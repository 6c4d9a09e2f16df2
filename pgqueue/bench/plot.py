"""A picture of a report; needs the extra `plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgqueue.bench.model import OURS
from pgqueue.bench.report import number
from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from pgqueue.bench.report import Line, Report

__all__ = ["check_plot", "draw"]

_OURS, _OTHER = "#1f6f8b", "#b8b8b8"
_INCHES_WIDE, _INCHES_PER_BAR = 9.0, 0.32


def check_plot() -> None:
    """
    Make sure that `draw` can work.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401, ICN001, PLC0415  # an extra
    except ImportError as error:
        raise ConfigurationError(
            "a chart needs matplotlib", hint="pip install '.[plot]' in a checkout of pgqueue"
        ) from error


def draw(report: Report, path: Path) -> None:
    """
    Draw the first metric of each case: bars for medians, whiskers from least to most.

    Args:
        report: What to draw.
        path: A PNG, SVG or PDF file.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  # an extra

    groups = _groups(report)
    heights = [len(lines) + 1.5 for lines in groups.values()]
    size = (_INCHES_WIDE, max(2.0, sum(heights) * _INCHES_PER_BAR + 1))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)
    for (title, lines), axis in zip(groups.items(), axes[:, 0], strict=True):
        names = [f"{line.system}: {line.case}" for line in lines]
        medians = [line.median for line in lines]
        spread = [
            [line.median - line.least for line in lines],
            [line.most - line.median for line in lines],
        ]
        colours = [_OURS if line.system.startswith(OURS) else _OTHER for line in lines]
        bars = axis.barh(names, medians, xerr=spread, color=colours, capsize=2)
        axis.bar_label(bars, [f" {number(value)}" for value in medians], fontsize=7)
        axis.margins(x=0.12)
        axis.invert_yaxis()
        axis.tick_params(labelsize=7)
        axis.set_title(title, fontsize=9, loc="left")
    told = "PostgreSQL {PostgreSQL}, {machine}, fsync {fsync}".format_map(_Known(report.facts))
    figure.suptitle(f"pgqueue bench: {told}", fontsize=9)
    figure.savefig(path, dpi=150)


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _groups(report: Report) -> dict[str, list[Line]]:
    """The lines of each workload's first metric."""
    groups: dict[str, list[Line]] = {}
    metrics: dict[str, str] = {}
    for line in report.lines():
        if metrics.setdefault(line.workload, line.metric) == line.metric:
            groups.setdefault(f"{line.workload}: {line.metric}, {line.unit}", []).append(line)
    return groups
