"""`pgqueue bench`: how fast is it on this server."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pgqueue.cli.base import Command, Failure, state
from pgqueue.cli.output import Column, as_json, note, progress, table, terminal_width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgqueue.bench import BenchSettings, Case, Report
    from pgqueue.bench.stage import Place

F = TypeVar("F", bound="Callable[..., Any]")

_WORKLOADS = (
    "enqueue",
    "bulk",
    "drain",
    "latency",
    "steady",
    "snapshot",
    "growth",
    "features",
    "flow",
)
_SIZES = (
    click.option("--runs", type=int, help="Measure each case so often.  [default: 3]"),
    click.option("--long-runs", type=int, help="The long cases so often.  [default: as --runs]"),
    click.option("--seconds", type=float, help="How long a short case lasts.  [default: 10]"),
    click.option("--long-seconds", type=float, help="How long a long one lasts.  [default: 60]"),
    click.option("--jobs", type=int, help="How many jobs are drained.  [default: 100000]"),
    click.option("--latencies", type=int, help="How many latencies are taken.  [default: 100]"),
    click.option("--scale", type=float, help="Of growth; 1: 10 million jobs.  [default: 1]"),
    click.option("--quick", is_flag=True, help="Every case, small and once, in minutes."),
)
_FILE = click.Path(dir_okay=False, path_type=Path)
_OUTPUT = (
    click.option("--markdown", is_flag=True, help="Print a Markdown table, one row per case."),
    click.option("--plot", type=_FILE, help="Draw a chart into this file; needs the extra plot."),
    click.option(
        "--save", type=_FILE, help="Keep the figures in this file, beside other workloads' there."
    ),
    click.option(
        "--from",
        "files",
        multiple=True,
        type=_FILE,
        help="Measure nothing, show what such files hold; may be repeated.",
    ),
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


def output(function: F) -> F:
    """The options that say what becomes of the figures; their names are those of Output."""
    for option in reversed(_OUTPUT):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What becomes of the figures."""

    markdown: bool
    plot: Path | None
    save: Path | None
    files: tuple[Path, ...]

    @classmethod
    def taken_from(cls, given: dict[str, Any]) -> Output:
        """
        Take the options of `output` out of a command's; look whether they can be met.

        Args:
            given: All of its options.
        """
        from pgqueue.bench.plot import check_plot  # noqa: PLC0415

        if given["plot"] is not None:
            check_plot()
        return cls(**{field.name: given.pop(field.name) for field in fields(cls)})


@click.command(
    cls=Command,
    examples=(
        "pgqueue bench --quick",
        "pgqueue bench enqueue drain --runs 5",
        "pgqueue bench steady --long-seconds 20 --plot steady.png",
        "pgqueue bench drain --save figures.json",
        "pgqueue bench latency --save figures.json",
        "pgqueue bench --from figures.json --markdown",
    ),
)
@click.argument("workloads", nargs=-1, type=click.Choice(_WORKLOADS), metavar="[WORKLOAD]...")
@sizes
@click.option(
    "--database", is_flag=True, help="Use the DSN's own database; it must not have the schema."
)
@output
def bench(*, workloads: tuple[str, ...], database: bool, **given: Any) -> None:
    """
    Measure this server: enqueue, drain, latency, cost, growth.

    Workloads: enqueue, bulk, drain, latency, steady, snapshot, growth, features, flow; all by
    default. It says how long that takes, and what it makes on the server: databases of its own,
    which are dropped (the role needs CREATEDB). Without a DSN an embedded server is started for it.
    Figures are medians, with their ratio to a floor of the same run and to the aim that they have.
    Nothing else should run on the machine.
    """
    from pgqueue.bench import BenchSettings, cases_of  # noqa: PLC0415
    from pgqueue.bench.saved import load  # noqa: PLC0415

    wanted = Output.taken_from(given)
    if wanted.files:
        show(load(wanted.files), wanted)
        return
    settings = BenchSettings.of(**given)
    cases = cases_of(settings, workloads)
    with open_place(given=database) as place:
        report = measured(cases, place, settings, save=wanted.save)
    show(report, wanted)
    if report.failed:
        raise Failure("some cases failed; they are listed above")


def measured(
    cases: Sequence[Case],
    place: Place,
    settings: BenchSettings,
    *,
    facts: dict[str, str] | None = None,
    save: Path | None = None,
) -> Report:
    """
    Measure workload by workload, and say how long it will take.

    Args:
        cases: What.
        place: Where.
        settings: How much.
        facts: What stands beside the figures, besides our own.
        save: The file that gets each workload's figures as soon as they are there.
    """
    from pgqueue.bench import (  # noqa: PLC0415
        Report,
        run_cases,
        saved,
        seconds_of,
    )
    from pgqueue.bench.pgbench import find_pgbench  # noqa: PLC0415
    from pgqueue.bench.producing import describe_producers  # noqa: PLC0415
    from pgqueue.bench.runner import STAGE_SECONDS  # noqa: PLC0415
    from pgqueue.bench.server import environment  # noqa: PLC0415

    pgbench = find_pgbench()
    told = environment(place.server, describe_producers(pgbench))
    report = Report((), (), told | (facts or {}))
    whole = seconds_of(cases, settings)
    note(f"about {max(1, round(whole / 60))} minutes; {settings}")
    with progress(round(whole), "measuring") as bar:
        for workload in dict.fromkeys(case.workload for case in cases):
            found = run_cases(
                [case for case in cases if case.workload == workload],
                place,
                settings,
                pgbench=pgbench,
                # Its own: the workloads of a file may have been measured on different evenings.
                facts=report.facts | {f"sizes of {workload}": str(settings)},
                on_step=lambda step: bar.update(round(step.case.seconds + STAGE_SECONDS)),
            )
            report = report.joined(found)
            if save is not None:
                saved.save(found, save)
    return report


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
    from pgqueue.dsn import describe_dsn, find_dsn  # noqa: PLC0415
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
    told = describe_dsn(dsn)
    if given:
        note(f"the schemas pgqueue and pgqueue_bench come into {told} and go again")
    else:
        note(f"databases pgqueue_bench_... are made on the server of {told} and dropped again")
    with given_place(dsn) if given else scratch_place(dsn) as place:
        yield place


def show(report: Report, wanted: Output) -> None:
    """
    Print a report, and draw it.

    Args:
        report: What.
        wanted: How.
    """
    from pgqueue.bench.markdown import markdown  # noqa: PLC0415
    from pgqueue.bench.plot import draw  # noqa: PLC0415

    if wanted.plot is not None:
        draw(report, wanted.plot)
        note(f"chart in {wanted.plot}")
    if state().json:
        click.echo(as_json(report.to_dict()))
    elif wanted.markdown:
        click.echo(markdown(report))
    else:
        _show_tables(report)


def _show_tables(report: Report) -> None:
    from pgqueue.bench.report import number  # noqa: PLC0415

    widest = max(map(len, report.facts), default=0)
    click.echo("\n".join(f"{name:<{widest}}  {value}" for name, value in report.facts.items()))
    columns = (
        Column("system", optional=True),
        Column("case"),
        Column("metric"),
        Column("unit"),
        *(Column(key, kind="number") for key in ("median", "min", "max", "ratio")),
        Column("aim", optional=True),
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
                "aim": line.told,
            }
            for line in lines
            if line.workload == workload
        ]
        click.echo(f"\n{workload}\n{table(rows, columns, width=terminal_width())}")
    for found in report.missing:
        case = found.case
        click.echo(f"\nnot measured: {case.workload}, {case.system}, {case.name}: {found.reason}")
