"""The benchmark's own arithmetic, and what it prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pgqueue.bench
from pgqueue.bench import WORKLOADS, BenchSettings, Report, cases_of
from pgqueue.bench.model import Case, Figure, Sample, Unavailable, latencies, percentile
from pgqueue.bench.pgbench import libpq_environment
from pgqueue.bench.producing import VALUES_ROWS, script
from pgqueue.bench.queries import statement
from pgqueue.bench.report import Missing, number
from pgqueue.bench.runner import steps_of
from pgqueue.bench.stamps import VARIABLE, read_stamps, stamp_file, write_stamp
from pgqueue.cli.bench import bench
from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from pgqueue.bench.stage import Stage


def _nothing(_: Stage) -> list[Figure]:
    return []


FLOOR = Case(workload="w", name="floor", measure=_nothing, system="PostgreSQL")
OURS = Case(workload="w", name="ours", measure=_nothing, floor="floor")
LONG = Case(workload="w", name="long", measure=_nothing, runs_max=1)


def _report(floors: list[float], ours: list[float]) -> Report:
    samples = [Sample(FLOOR, run, Figure("rate", x, "jobs/s")) for run, x in enumerate(floors)]
    samples += [Sample(OURS, run, Figure("rate", x, "jobs/s")) for run, x in enumerate(ours)]
    return Report(tuple(samples), (), {"PostgreSQL": "18"})


def test_the_ratio_is_the_median_of_the_ratios_within_a_run() -> None:
    """A machine that doubles its speed between runs changes no ratio."""
    floor, ours = _report([100, 200, 400], [50, 100, 200]).lines()

    assert (floor.ratio, floor.median) == (None, 200)
    assert (ours.ratio, ours.median, ours.least, ours.most, ours.runs) == (0.5, 100, 50, 200, 3)


def test_a_run_without_its_floor_has_no_ratio() -> None:
    """The floor failed in the second run, say."""
    _, ours = _report([100], [80, 10]).lines()

    assert (ours.runs, ours.ratio) == (2, 0.8)


def test_cases_take_turns_run_after_run() -> None:
    """Workload by workload; a case with a limit drops out."""
    steps = list(steps_of([FLOOR, OURS, LONG], BenchSettings(runs=2)))

    assert [(step.case.name, step.run) for step in steps] == [
        ("floor", 0),
        ("ours", 0),
        ("long", 0),
        ("floor", 1),
        ("ours", 1),
    ]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)]
)
def test_percentiles_are_values_that_occurred(share: float, expected: float) -> None:
    """Nearest rank."""
    actual = percentile([float(n) for n in range(100, 0, -1)], share)

    assert expected == actual


def test_no_latencies_are_no_figures() -> None:
    """Rather than zeros."""
    with pytest.raises(Unavailable):
        latencies([])


@pytest.mark.parametrize(
    ("value", "expected"), [(12345.6, "12,346"), (12.34, "12.3"), (0.4211, "0.42"), (0, "0.00")]
)
def test_numbers_show_what_counts(value: float, expected: str) -> None:
    """As a person reads them."""
    assert expected == number(value)


def test_markdown_is_one_table_with_what_it_rests_on() -> None:
    """And the reason for each figure that is missing."""
    report = _report([100], [80])
    missing = (Missing(LONG, "no pgbench | found", failed=False),)
    lines = Report(report.samples, missing, report.facts).markdown().splitlines()

    assert lines[0].count("|") == lines[1].count("|") == lines[3].count("|") == 8
    assert "| w | pgqueue | ours | rate | 80.0 jobs/s | 80.0 - 80.0 | 0.80 |" in lines
    assert "PostgreSQL 18" in lines
    assert lines[-1] == "- w, pgqueue, long: not measured, no pgbench | found"


def test_only_what_should_have_worked_is_a_failure() -> None:
    """A machine without pgbench is not broken."""
    absent = Report((), (Missing(OURS, "no pgbench", failed=False),), {})
    broken = Report((), (Missing(OURS, "boom", failed=True),), {})

    assert (absent.failed, broken.failed) == (False, True)


@pytest.mark.parametrize("settings", [{"runs": 0}, {"seconds": 0.1}, {"jobs": 1}, {"scale": 0}])
def test_a_size_that_makes_no_sense_is_refused(settings: dict[str, float]) -> None:
    """With the bounds in the message."""
    with pytest.raises(ConfigurationError, match="must be"):
        BenchSettings.of(**settings)  # type: ignore[arg-type]


def test_long_cases_last_six_times_as_long() -> None:
    """As the help says."""
    settings = BenchSettings.of(seconds=2)

    assert (settings.seconds, settings.long_seconds) == (2, 12)


def test_every_floor_is_a_case_of_the_same_workload_measured_before() -> None:
    """In full and in quick."""
    for settings in (BenchSettings(), BenchSettings.of(quick=True)):
        seen: set[tuple[str, str]] = set()
        for case in cases_of(settings):
            assert case.floor is None or (case.workload, case.floor) in seen, case
            assert (case.workload, case.name) not in seen, case
            seen.add((case.workload, case.name))


def test_the_command_offers_all_workloads() -> None:
    """Its list stands apart, so that the help needs no import of them."""
    (choice,) = [option.type for option in bench.params if option.name == "workloads"]

    assert list(WORKLOADS) == list(choice.choices)  # type: ignore[attr-defined]


def test_an_unknown_workload_is_refused() -> None:
    """With the names that there are."""
    with pytest.raises(ConfigurationError) as caught:
        cases_of(BenchSettings(), ["drian"])

    assert "drain" in str(caught.value.hint)


def test_no_statement_is_left_over_or_missing() -> None:
    """What the code names is in the file, and what is in the file has a user."""
    folder = Path(pgqueue.bench.__file__).parent
    names = re.findall(r"^-- name: (\w+)$", (folder / "sql/queries.sql").read_text(), re.MULTILINE)
    code = "".join(path.read_text() for path in folder.rglob("*.py"))
    composed = {"script_", "fill_", "view_"}
    unused = [
        name
        for name in names
        if not any(
            f'"{name.removeprefix(prefix)}"' in code
            for prefix in ("", *composed)
            if name.startswith(prefix)
        )
    ]

    assert len(names) == len(set(names))
    assert [name for name in unused if not name.startswith("fill_")] == []
    assert all(statement(name) for name in names)


def test_a_values_list_is_written_out() -> None:
    """In the script that pgbench gets."""
    text = script("values_jobs")

    assert text.count("bench_noop") == VALUES_ROWS
    assert "VALUES" not in text


def test_stamps_survive_in_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair that is half written is not read."""
    path = tmp_path / "stamps"
    monkeypatch.setenv(VARIABLE, str(path))
    stamp_file.cache_clear()
    write_stamp(1.5, 2.5)
    write_stamp(3.0, 4.0)
    stamp_file.cache_clear()
    with path.open("ab") as file:
        file.write(b"half")

    assert read_stamps(path) == [(1.5, 2.5), (3.0, 4.0)]
    assert read_stamps(tmp_path / "none") == []


def test_a_dsn_reaches_pgbench_through_the_environment() -> None:
    """Command lines are public, and may hold no password."""
    found = libpq_environment("host=/run/pg port=5433 user=u password=secret dbname=d")

    assert (found["PGHOST"], found["PGPORT"], found["PGUSER"]) == ("/run/pg", "5433", "u")
    assert (found["PGPASSWORD"], found["PGDATABASE"]) == ("secret", "d")
