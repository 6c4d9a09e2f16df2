"""The README's summary of the figures: which aims are met, which are missed, and by how much."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.docs.blocks import table_rows

__all__ = ["summary"]

# As pgqueue.bench.verdict words a miss.
_MISSED = re.compile(r"missed by (\d+)%$")
# What a reader asks first: of each case its first figure, with least and most.
_HEADLINES = (
    ("enqueue", "INSERT, 8 producers"),
    ("bulk", "COPY of 10,000 rows"),
    ("drain", "1 worker process"),
    ("drain", "4 worker processes"),
    ("latency", "1 idle worker"),
)
_WORST = 5  # of each workload; the table of tests/bench/README.md has them all
_FIRST_FIGURE = re.compile(r"[^()]*(\([^)]*\))?")


class _Aim(NamedTuple):
    workload: str
    case: str
    told: str

    @property
    def missed_by(self) -> int | None:
        found = _MISSED.search(self.told)
        return int(found[1]) if found else None


def summary(figures: str) -> str:
    """
    A few figures, and one row per workload that has aims, with what is missed by most.

    Args:
        figures: The table of pgqueue.bench.markdown.
    """
    found = table_rows(figures)
    return "\n".join([*_headlines(found), "", *_aims(found)])


def _headlines(found: list[list[str]]) -> list[str]:
    ours = {(row[0], row[2]): row[3] for row in found if row[1] == "pgqueue"}
    rows = ["| workload | case | median (least - most) |", "|---|---|---|"]
    for workload, case in _HEADLINES:
        first = _FIRST_FIGURE.match(ours.get((workload, case), ""))
        if first and first[0]:
            rows.append(f"| {workload} | {case} | {first[0]} |")
    return rows


def _aims(table: list[list[str]]) -> list[str]:
    aims = [
        _Aim(workload, f"{case}, {system}" if system != "pgqueue" else case, told)
        for workload, system, case, _, _, verdicts in table
        for told in verdicts.split("; ")
        if told
    ]
    rows = ["| workload | aims met | missed |", "|---|---|---|"]
    for workload in dict.fromkeys(aim.workload for aim in aims):
        found = [aim for aim in aims if aim.workload == workload]
        missed = [aim for aim in found if aim.missed_by is not None]
        missed.sort(key=lambda aim: aim.missed_by or 0, reverse=True)
        told = [f"{aim.case}: {aim.told}" for aim in missed[:_WORST]]
        if more := missed[_WORST:]:
            told.append(f"and {len(more)} more, by at most {more[0].missed_by}%")
        met = f"{len(found) - len(missed)} of {len(found)}"
        rows.append(f"| {workload} | {met} | {'<br>'.join(told)} |")
    return rows
