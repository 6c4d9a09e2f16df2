"""The benchmark's own arithmetic, and what it prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pgqueue.bench
from pgqueue.bench import WORKLOADS, BenchSettings, Report, cases_of, seconds_of
from pgqueue.bench.markdown import markdown
from pgqueue.bench.model import (
    BY_CLIENT,
    Aim,
    Case,
    Figure,
    Of,
    Sample,
    Unavailable,
    latencies,
    percentile,
)
from pgqueue.bench.pgbench import libpq_environment, read_log
from pgqueue.bench.producing import VALUES_ROWS, script
from pgqueue.bench.queries import statement
from pgqueue.bench.report import Missing, number
from pgqueue.bench.runner import steps_of
from pgqueue.bench.saved import load, save
from pgqueue.bench.stamps import VARIABLE, read_stamps, stamp_file, write_stamp
from pgqueue.cli.bench import bench
from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from pgqueue.bench.stage import Stage


def _nothing(_: Stage) -> list[Figure]:
    return []


FLOOR = Case(workload="w", name="floor", measure=_nothing, system="PostgreSQL")
AIM = Aim("rate", 0.75, least=True, of=Of.FLOOR)
OURS = Case(workload="w", name="ours", measure=_nothing, floor="floor", aims=(AIM,))
LONG = Case(workload="w", name="long", measure=_nothing, runs=1)


def _report(floors: list[float], ours: list[float]) -> Report:
    samples = [Sample(FLOOR, run, Figure("rate", x, "jobs/s")) for run, x in enumerate(floors)]
    samples += [Sample(OURS, run, Figure("rate", x, "jobs/s")) for run, x in enumerate(ours)]
    return Report(tuple(samples), (), {"PostgreSQL": "18"})


def test_the_ratio_is_the_median_of_the_ratios_within_a_run() -> None:
    """A machine that doubles its speed between runs changes no ratio."""
    floor, ours = _report([100, 200, 400], [50, 100, 200]).lines()

    assert (floor.ratio, floor.median) == (None, 200)
    assert (ours.ratio, ours.median, ours.least, ours.most) == (0.5, 100, 50, 200)
    assert set(ours.values) == {0, 1, 2}


def test_a_run_without_its_floor_has_no_ratio() -> None:
    """The floor failed in the second run, say."""
    _, ours = _report([100], [80, 10]).lines()

    assert (len(ours.values), ours.ratio) == (2, 0.8)


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
    """One row per case, and the reason for each that is missing."""
    report = _report([100], [80])
    missing = (Missing(LONG, "no pgbench | found", failed=False),)
    lines = markdown(Report(report.samples, missing, report.facts)).splitlines()

    assert lines[0].count("|") == lines[1].count("|") == lines[3].count("|") == 7
    assert lines[3].startswith("| w | pgqueue | ours | rate 80.0 jobs/s | rate 0.80 | rate at")
    assert "- PostgreSQL: 18" in lines
    assert lines[-1] == "- not measured: w, pgqueue, long: no pgbench | found"


@pytest.mark.parametrize(
    ("aim", "reached", "told"),
    [
        (Aim("m", 0.75, least=True, of=Of.FLOOR), 0.5, "of the floor: 0.5, missed by 33%"),
        (Aim("m", 0.5, least=True, of=Of.FLOOR), 0.5, "of the floor: 0.5, met"),
        (Aim("m", 60, least=False), 50, "at most 60: 50, met"),
        (Aim("m", 1, least=False, of=Of.ABOVE_FLOOR), -50, "above the floor: -50, met"),
        (Aim("m", 0.5, least=False, of=Of.BEST_PEER), 2.5, "peer's: 2.5, missed by 400%"),
    ],
)
def test_an_aim_says_what_was_reached(aim: Aim, reached: float, told: str) -> None:
    """Ours 50, the floor 100, two peers 20 and 40."""
    figures = [("pgqueue", "ours", 50), ("PostgreSQL", "floor", 100), ("x", "ours", 20)]
    figures.append(("y", "ours", 40))
    samples = [
        Sample(
            Case(
                workload="w",
                system=system,
                name=name,
                measure=_nothing,
                aims=(aim,) if system == "pgqueue" else (),
                floor="floor" if system == "pgqueue" else None,
            ),
            0,
            Figure("m", value, "ms"),
        )
        for system, name, value in figures
    ]
    (verdict,) = Report(tuple(samples), (), {}).lines()[0].verdicts

    assert verdict.value == reached
    assert str(verdict).endswith(told)


def test_a_peer_is_compared_with_what_the_same_program_measured() -> None:
    """In the same run: 80 to 20, then 60 to 10."""
    aim = Aim("rate", 5, least=True, of=Of.PEER)
    peer = Case(workload="drain", system="x", name="1 process", measure=_nothing, aims=(aim,))
    own = Case(workload="drain", system=BY_CLIENT, name="1 process", measure=_nothing)
    other = Case(workload="drain", system="z", name="1 process", measure=_nothing)
    values = {own: (80, 60), other: (1, 1), peer: (20, 10)}
    samples = [
        Sample(case, run, Figure("rate", value, "jobs/s"))
        for case, found in values.items()
        for run, value in enumerate(found)
    ]
    (verdict,) = Report(tuple(samples), (), {}).lines()[-1].verdicts

    assert (verdict.value, verdict.met) == (5.0, True)


def test_an_aim_without_what_it_is_compared_with_is_not_judged() -> None:
    """The floor failed, say."""
    report = _report([], [80])

    assert report.lines()[0].verdicts == ()


def test_a_saved_report_is_read_as_it_was(tmp_path: Path) -> None:
    """Ratios, verdicts and what is missing, too."""
    found = _report([100, 200], [80, 90])
    report = Report(found.samples, (Missing(LONG, "why", failed=False),), found.facts)
    save(report, tmp_path / "figures.json")

    assert load([tmp_path / "figures.json"]).to_dict() == report.to_dict()


def test_a_file_keeps_other_workloads(tmp_path: Path) -> None:
    """Those that are measured again are replaced as a whole."""
    path = tmp_path / "figures.json"
    other = Case(workload="other", name="other", measure=_nothing)
    save(_report([100], [80]), path)
    save(Report((Sample(other, 0, Figure("rate", 1, "")),), (), {"PostgreSQL": "17"}), path)
    save(_report([100], [50]), path)
    report = load([path])

    assert [line.median for line in report.lines()] == [1, 100, 50]
    assert report.facts == {"PostgreSQL": "18 | 17"}


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    """With its name."""
    path = tmp_path / "figures.json"
    path.write_text("[]")

    with pytest.raises(ConfigurationError, match=r"figures\.json is not a report"):
        load([path])


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


def test_long_cases_run_as_often_as_the_others_unless_told() -> None:
    """They last a minute each."""
    same, fewer = BenchSettings.of(runs=5), BenchSettings.of(runs=5, long_runs=1)

    assert (same.runs, same.long_runs) == (5, 5)
    assert (fewer.runs, fewer.long_runs) == (5, 1)


def test_quick_has_every_case() -> None:
    """Smaller: at another scale the sizes of growth are part of their names."""
    full, quick = (
        [
            (case.workload, case.name)
            for case in cases_of(settings)
            if case.workload != "growth" and not case.name.endswith("parked")
        ]
        for settings in (BenchSettings(), BenchSettings.of(quick=True))
    )

    assert full == quick
    assert seconds_of(cases_of(BenchSettings.of(quick=True)), BenchSettings.of(quick=True)) < 310


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
    """What the code names is in a file, and what is in a file has a user."""
    folder = Path(pgqueue.bench.__file__).parent
    texts = "".join(path.read_text() for path in (folder / "sql").glob("*.sql"))
    names = re.findall(r"^-- name: (\w+)$", texts, re.MULTILINE)
    code = "".join(path.read_text() for path in folder.rglob("*.py"))
    composed = {"script_", "fill_", "view_", "keyed_", "open_"}
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


def test_the_log_of_pgbench_tells_when_each_transaction_ended_and_what_it_took(
    tmp_path: Path,
) -> None:
    """Beside a rate it has a seventh column, how late it was sent, which its time includes."""
    (tmp_path / "plain.1").write_text("0 1 2500 0 1764000000 250000\n")
    (tmp_path / "plain.1.1").write_text("3 1 2500 0 1764000001 500000 2000\n")
    (tmp_path / "other.1").write_text("")

    found = sorted(read_log(tmp_path / "plain"))

    assert [ended for ended, _ in found] == [1764000000.25, 1764000001.5]
    assert [took for _, took in found] == pytest.approx([0.0025, 0.0005])
