"""`pgqueue bench` as a user runs it, in its smallest size: what it prints, and what it leaves."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgqueue.bench import BenchSettings, Case, cases_of, run_cases
from pgqueue.bench.pgbench import find_pgbench
from pgqueue.bench.producing import describe_producers, transactions_per_second
from pgqueue.bench.stage import given_place, scratch_place
from tests.support.cli import Cli, command, environ, program
from tests.support.wait import eventually

if TYPE_CHECKING:
    from pathlib import Path

_SMALL = ("--quick", "--seconds", "1", "--jobs", "300")
_SECONDS = 110.0


def _names(dsn: str, query: str) -> list[str]:
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        return [name for (name,) in connection.execute(query).fetchall()]


def _databases(dsn: str) -> list[str]:
    return _names(dsn, "select datname from pg_database where datname like 'pgqueue_bench%'")


def _schemas(dsn: str) -> list[str]:
    return _names(dsn, "select nspname from pg_namespace where nspname like 'pgqueue%'")


def _run(dsn: str, *words: str) -> Any:
    done = program("bench", *words, environment={"PGQUEUE_DSN": dsn}, seconds=_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_drain_is_measured_beside_the_sql_alone(empty_dsn: str) -> None:
    """Every case has its rate; nothing is left on the server."""
    told = _run(empty_dsn, "drain", *_SMALL, "--json")
    rates = {line["case"]: line for line in told["figures"] if line["metric"] == "rate"}
    cases = {"1 worker process", "4 worker processes"}
    if find_pgbench() is not None:
        cases |= {"SQL alone, 1 client", "SQL alone, 4 clients"}

    assert cases == set(rates)
    assert all(line["median"] > 0 for line in rates.values())
    assert all(not found["failed"] for found in told["missing"])
    assert told["facts"]["fsync"] in {"on", "off"}
    # Another test's benchmark may be at work on the same server: its databases go, ours must have.
    left = set(_databases(empty_dsn))
    eventually(lambda: not left & set(_databases(empty_dsn)), seconds=60, what="databases go")


@pytest.mark.slow
def test_an_empty_database_can_be_named_and_is_left_empty(empty_dsn: str) -> None:
    """For a role that may not create databases."""
    told = _run(empty_dsn, "latency", *_SMALL, "--json", "--database")
    one = [line for line in told["figures"] if line["case"] == "1 idle worker"]

    assert {line["metric"] for line in one} == {"p50", "p95", "p99", "p99 / p50"}
    assert all(line["ratio"] > 0 for line in one)
    assert _schemas(empty_dsn) == []


def test_a_database_with_our_schema_is_refused(dsn: str) -> None:
    """A benchmark would drop its jobs."""
    result = Cli(dsn)("bench", "drain", "--quick", "--database")

    assert result.exit_code == 2
    assert "has a schema pgqueue" in result.stderr
    assert "Hint:" in result.stderr


def test_without_pgbench_python_enqueues(empty_dsn: str) -> None:
    """And the head of the report says so."""
    settings = BenchSettings(seconds=0.5)
    with scratch_place(empty_dsn) as place, place.stage(settings, None) as stage:
        rate = transactions_per_second(stage, "insert_jobs", clients=3)
        stored = stage.value("count_jobs")

    assert rate == pytest.approx(stored / settings.seconds)
    assert rate > 0
    assert "no pgbench found" in describe_producers(None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_benchmark_that_is_interrupted_cleans_up(empty_dsn: str, number: signal.Signals) -> None:
    """While it measures: exit code 130, and nothing is left."""
    process = subprocess.Popen(
        command("bench", "drain", "--jobs", "2000", "--runs", "50", "--database"),
        env=environ({"PGQUEUE_DSN": empty_dsn}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: len(_schemas(empty_dsn)) == 2, seconds=30, what="it measures")
        process.send_signal(number)
        code = process.wait(60)
    finally:
        process.kill()
        process.wait(10)

    assert code == 130
    assert _schemas(empty_dsn) == []


@pytest.mark.parametrize("more", [(), ("--database",)])
def test_growth_compares_every_size_with_an_empty_queue(
    empty_dsn: str, more: tuple[str, ...]
) -> None:
    """A thousandth of the sizes; in turns, or one after the other in one database."""
    told = _run(empty_dsn, "growth", *_SMALL, "--scale", "0.001", "--json", *more)
    last = [line for line in told["figures"] if line["case"] == "10,000 finished and 1,000 ready"]
    judged = {line["metric"] for line in last if line["verdicts"]}

    assert told["missing"] == []
    assert judged == {line["metric"] for line in last if line["metric"].endswith("/ empty")}
    assert len(judged) == 6


# What others configure: tests/sql/test_cost_of_others.py.
_FLOW = [
    case
    for case in cases_of(BenchSettings.of(quick=True, jobs=300, scale=0.001), ["flow"])
    if not case.name.endswith("for others") or case.name.startswith("quotas")
]


@pytest.mark.parametrize("case", _FLOW, ids=lambda case: case.name)
def test_flow_measures_each_feature_beside_jobs_without_it(empty_dsn: str, case: Case) -> None:
    """The smallest size, in two databases; what is judged has been measured."""
    settings = BenchSettings.of(quick=True, jobs=300, scale=0.001)
    with scratch_place(empty_dsn) as place:
        report = run_cases([case], place, settings)
    lines = {line.metric: line for line in report.lines()}

    assert [found.reason for found in report.missing] == []
    assert {aim.metric for aim in case.aims if "CPU" not in aim.metric} <= set(lines)
    assert all(line.median > 0 for line in lines.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quotas, for others", "ordering keys, used"])
def test_flow_makes_do_with_one_database(empty_dsn: str, name: str) -> None:
    """One state after the other."""
    settings = BenchSettings.of(quick=True, jobs=300)
    cases = [case for case in cases_of(settings, ["flow"]) if case.name == name]
    with given_place(empty_dsn) as place:
        report = run_cases(cases, place, settings)

    assert [found.reason for found in report.missing] == []
    assert len({line.case for line in report.lines()}) == 1


@pytest.mark.slow
def test_a_held_snapshot_is_measured_with_its_worker(empty_dsn: str) -> None:
    """First part, last part, and what the worker's feeder left."""
    told = _run(empty_dsn, "snapshot", *_SMALL, "--long-seconds", "2", "--json")
    held = {
        line["metric"]: line for line in told["figures"] if line["case"] == "a read-only snapshot"
    }

    assert all(not found["failed"] for found in told["missing"])
    assert held["rate, last of first"]["verdicts"]
    assert held["buffers, last part"]["median"] > 0
    assert held["backlog, least"]["median"] > 0


def test_figures_of_several_runs_make_one_table(empty_dsn: str, tmp_path: Path) -> None:
    """Measured one by one and kept in files; showing them needs no server."""
    first, second = str(tmp_path / "first.json"), str(tmp_path / "second.json")
    _run(empty_dsn, "bulk", *_SMALL, "--save", first, "--json")
    _run(empty_dsn, "features", *_SMALL, "--save", second, "--json")
    result = Cli("host=/nowhere")("bench", "--from", first, "--from", second, "--markdown")
    rows = [line for line in result.stdout.splitlines() if line.startswith("| ")]

    assert result.exit_code == 0, result.stderr
    assert {row.split(" | ")[0] for row in rows} == {"| workload", "| ---", "| bulk", "| features"}
    assert any("rate at least 0.5 of the floor: " in row for row in rows)
