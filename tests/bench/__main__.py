"""
`make bench`: the workloads of `pgqueue bench`, and the peers in turns with them.

Without arguments everything, on an embedded server; with PGQUEUE_DSN or PG* on that one. The other
arguments are those of `pgqueue bench`, and `--peers DIRECTORY` names the peers' environment.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from pgqueue.bench import BenchSettings, cases_of, run_cases
from pgqueue.bench.pgbench import find_pgbench
from pgqueue.bench.plot import check_plot, draw
from pgqueue.bench.producing import describe_producers
from pgqueue.bench.runner import steps_of
from pgqueue.bench.server import environment
from pgqueue.cli.base import Command, handled
from pgqueue.cli.bench import open_place, show, sizes
from pgqueue.cli.output import note, progress
from tests.bench.cases import PEERS, describe, peer_cases, prepare


@click.command(cls=Command)
@click.argument("workloads", nargs=-1)
@sizes
@click.option("--markdown", is_flag=True, help="Print one Markdown table.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw a chart.")
@click.option(
    "--peers",
    type=click.Path(file_okay=False, path_type=Path),
    help="The peers' environment; none: no peers.",
)
def bench(
    *,
    workloads: tuple[str, ...],
    markdown: bool,
    plot: Path | None,
    peers: Path | None,
    **given: Any,
) -> None:
    """Measure pgqueue and its peers on one server, in turns."""
    handled(lambda: _bench(workloads, markdown=markdown, plot=plot, peers=peers, given=given))


def _bench(
    workloads: tuple[str, ...],
    *,
    markdown: bool,
    plot: Path | None,
    peers: Path | None,
    given: dict[str, Any],
) -> None:
    if plot is not None:
        check_plot()
    settings = BenchSettings.of(**given)
    cases, pgbench = cases_of(settings, workloads), find_pgbench()
    with ExitStack() as stack:
        place = stack.enter_context(open_place())
        facts = environment(place.server, describe_producers(pgbench))
        if peers is not None:
            note("preparing the peers")
            prepared = [prepare(peer, peers) for peer in PEERS]
            facts |= {one.peer.title: describe(one, place, settings) for one in prepared}
            wanted = {case.workload for case in cases}
            beside = peer_cases(prepared, settings)
            cases += [case for case in beside if case.workload in wanted]
        bar = stack.enter_context(progress(sum(1 for _ in steps_of(cases, settings)), "measuring"))
        report = run_cases(
            cases, place, settings, pgbench=pgbench, facts=facts, on_step=lambda _: bar.update(1)
        )
    show(report, markdown=markdown)
    if plot is not None:
        draw(report, plot)


if __name__ == "__main__":
    bench()
