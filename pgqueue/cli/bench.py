"""`pgqueue bench`: how fast is it on this server."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pgqueue.cli.base import Command, Failure, state
from pgqueue.cli.output import Column, as_json, note, progress, table, terminal_width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgqueue.bench import Report
    from pgqueue.bench.stage import Place

F = TypeVar("F", bound="Callable[..., Any]")

_WORKLOADS = ("enqueue", "bulk", "drain", "latency", "steady", "snapshot", "growth", "features")
_SIZES = (
    click.option("--runs", type=int, help="Measure each case so often.  [default: 3]"),
    click.option(
        "--seconds", type=float, help="Of a short case; long ones take 6 times that.  [default: 10]"
    ),
    click.option("--jobs", type=int, help="How many jobs are drained.  [default: 100000]"),
    click.option("--scale", type=float, help="Of growth; 1: 10 million jobs.  [default: 0.1]"),
    click.option("--quick", is_flag=True, help="Small sizes, one run: does it work?"),
)
# For a server of our own: connections for 64 producers or idle workers, no checkpoint in a case.
_SERVER: dict[str, str | int | float | bool] = {
    "max_connections": 300,
    "max_wal_size": "8GB",
    "shared_buffers": "512MB",
}


def sizes(function: F) -> F:
    """The options that say how much is measured; their names are those of BenchSettings.of()."""
    for option in reversed(_SIZES):
        function = option(function)
    return function


@click.command(
    cls=Command,
    examples=(
        "pgqueue bench --quick",
        "pgqueue bench enqueue drain --runs 5",
        "pgqueue bench --json > bench.json",
        "pgqueue bench steady --seconds 10 --plot steady.png",
    ),
)
@click.argument("workloads", nargs=-1, type=click.Choice(_WORKLOADS), metavar="[WORKLOAD]...")
@sizes
@click.option(
    "--database", is_flag=True, help="Use the DSN's own database; it must not have the schema."
)
@click.option("--markdown", is_flag=True, help="Print one Markdown table.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw a chart into this file; needs the extra plot.",
)
def bench(
    *, workloads: tuple[str, ...], database: bool, markdown: bool, plot: Path | None, **given: Any
) -> None:
    """
    Measure this server: enqueue, drain, latency, cost, growth.

    Workloads: enqueue, bulk, drain, latency, steady, snapshot, growth, features; all by default,
    which takes about an hour. Databases of its own are created for it and dropped (the role needs
    CREATEDB); figures are medians, with ratios to a floor measured in the same run. Without a DSN
    an embedded server is started for it. Nothing else should run on the machine.
    """
    from pgqueue.bench import BenchSettings, cases_of, run_cases  # noqa: PLC0415
    from pgqueue.bench.pgbench import find_pgbench  # noqa: PLC0415
    from pgqueue.bench.plot import check_plot, draw  # noqa: PLC0415
    from pgqueue.bench.producing import describe_producers  # noqa: PLC0415
    from pgqueue.bench.runner import steps_of  # noqa: PLC0415
    from pgqueue.bench.server import environment  # noqa: PLC0415

    if plot is not None:
        check_plot()
    settings = BenchSettings.of(**given)
    cases, pgbench = cases_of(settings, workloads), find_pgbench()
    count = sum(1 for _ in steps_of(cases, settings))
    with open_place(given=database) as place, progress(count, "measuring") as bar:
        report = run_cases(
            cases,
            place,
            settings,
            pgbench=pgbench,
            facts=environment(place.server, describe_producers(pgbench)),
            on_step=lambda _: bar.update(1),
        )
    show(report, markdown=markdown)
    if plot is not None:
        draw(report, plot)
        note(f"chart in {plot}")
    if report.failed:
        raise Failure("some cases failed; they are listed above")


@contextmanager
def open_place(*, given: bool = False) -> Iterator[Place]:
    """
    Find the server that --dsn or the environment names, or start one.

    Args:
        given: Use the DSN's own database.

    Raises:
        PgqueueError: There is none, or it cannot be used.
    """
    from pgqueue.bench.stage import given_place, scratch_place  # noqa: PLC0415
    from pgqueue.dsn import find_dsn  # noqa: PLC0415
    from pgqueue.embedded import EmbeddedServer  # noqa: PLC0415
    from pgqueue.errors import ConfigurationError  # noqa: PLC0415

    try:
        dsn = find_dsn(state().dsn)
    except ConfigurationError:
        if given:
            raise
        note("no DSN: starting an embedded server for it")
        with EmbeddedServer(settings=_SERVER) as server, scratch_place(server.dsn()) as place:
            yield place
        return
    with given_place(dsn) if given else scratch_place(dsn) as place:
        yield place


def show(report: Report, *, markdown: bool) -> None:
    """
    Print a report.

    Args:
        report: What.
        markdown: As one table for a README.
    """
    from pgqueue.bench.report import number  # noqa: PLC0415

    if state().json or markdown:
        click.echo(as_json(report.to_dict()) if state().json else report.markdown())
        return
    widest = max(map(len, report.facts), default=0)
    click.echo("\n".join(f"{name:<{widest}}  {value}" for name, value in report.facts.items()))
    columns = (
        Column("system", optional=True),
        Column("case"),
        Column("metric"),
        Column("unit"),
        *(Column(key, kind="number") for key in ("median", "min", "max", "ratio")),
    )
    lines = report.lines()
    for workload in dict.fromkeys(line.workload for line in lines):
        rows = [
            {
                "system": line.system,
                "case": line.case,
                "metric": line.metric,
                "unit": line.unit,
                "median": number(line.median),
                "min": number(line.least),
                "max": number(line.most),
                "ratio": "" if line.ratio is None else f"{line.ratio:.2f}",
            }
            for line in lines
            if line.workload == workload
        ]
        click.echo(f"\n{workload}\n{table(rows, columns, width=terminal_width())}")
    for found in report.missing:
        case = found.case
        click.echo(f"\nnot measured: {case.workload}, {case.system}, {case.name}: {found.reason}")
