"""Reports in files, so that a long benchmark can be done workload by workload."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from pgqueue.bench.model import Aim, Case, Figure, Of, Sample, Unavailable
from pgqueue.bench.report import Missing, Report
from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pgqueue.bench.stage import Stage

__all__ = ["from_dict", "load", "save"]


def save(report: Report, path: Path) -> None:
    """
    Write a report; what the file knows of other workloads stays.

    Args:
        report: What was measured.
        path: A JSON file; it need not exist.

    Raises:
        ConfigurationError: It holds something else.
    """
    whole = load([path]).joined(report) if path.exists() else report
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(whole.to_dict(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    fresh.replace(path)


def load(paths: Iterable[Path]) -> Report:
    """
    Read reports and join them; a later file replaces what it has of the same workload.

    Args:
        paths: Written by `save`, or by `pgqueue bench --json`.

    Raises:
        ConfigurationError: One of them is something else.
    """
    joined = Report((), (), {})
    for path in paths:
        try:
            joined = joined.joined(from_dict(json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path} is not a report of the benchmark: {error!r}",
                hint="Write one with `pgqueue bench --save FILE`.",
            ) from error
    return joined


def from_dict(found: dict[str, Any]) -> Report:
    """
    The report that `Report.to_dict` was called on.

    Args:
        found: What it returned.
    """
    aims: dict[tuple[str, str, str], list[Aim]] = {}
    for line in found["figures"]:
        aims.setdefault(_key(line), []).extend(
            Aim(line["metric"], told["bound"], told["least"], Of(told["of"]))
            for told in line["verdicts"]
        )
    floors = {_key(line): line["floor"] for line in found["figures"]}
    cases = {key: _case(*key, aims=tuple(own), floor=floors[key]) for key, own in aims.items()}
    samples = [
        Sample(cases[_key(line)], int(run), Figure(line["metric"], value, line["unit"]))
        for line in found["figures"]
        for run, value in line["values"].items()
    ]
    missing = [
        Missing(_case(*_key(one)), one["reason"], failed=one["failed"]) for one in found["missing"]
    ]
    return Report(tuple(samples), tuple(missing), dict(found["facts"]))


def _key(line: dict[str, Any]) -> tuple[str, str, str]:
    return line["workload"], line["system"], line["case"]


def _case(
    workload: str, system: str, name: str, *, aims: tuple[Aim, ...] = (), floor: str | None = None
) -> Case:
    return Case(workload=workload, system=system, name=name, measure=_never, aims=aims, floor=floor)


def _never(_: Stage) -> NoReturn:
    raise Unavailable("it was read from a file")
