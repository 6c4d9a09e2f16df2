"""
`make bench`: the workloads of `pgqueue bench`, and the peers in turns with them.

Without arguments everything, on an embedded server; with PGQUEUE_DSN or PG* on that one. The other
arguments are those of `pgqueue bench`, and `--peers DIRECTORY` names the peers' environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgqueue.bench import BenchSettings, cases_of
from pgqueue.bench.saved import load
from pgqueue.cli.base import Command, handled
from pgqueue.cli.bench import Output, measured, open_place, output, show, sizes
from pgqueue.cli.output import note
from tests.bench.cases import PEERS, describe, peer_cases, prepare


@click.command(cls=Command)
@click.argument("workloads", nargs=-1)
@sizes
@output
@click.option(
    "--peers",
    type=click.Path(file_okay=False, path_type=Path),
    help="The peers' environment; none: no peers.",
)
def bench(*, workloads: tuple[str, ...], peers: Path | None, **given: Any) -> None:
    """Measure pgqueue and its peers on one server, in turns."""
    handled(lambda: _bench(workloads, peers=peers, given=given))


def _bench(workloads: tuple[str, ...], *, peers: Path | None, given: dict[str, Any]) -> None:
    wanted = Output.taken_from(given)
    if wanted.files:
        show(load(wanted.files), wanted)
        return
    settings = BenchSettings.of(**given)
    cases = cases_of(settings, workloads)
    with open_place() as place:
        facts = {}
        if peers is not None:
            note("preparing the peers")
            prepared = [prepare(peer, peers) for peer in PEERS]
            facts = {one.peer.title: describe(one, place, settings) for one in prepared}
            workloads_wanted = {case.workload for case in cases}
            beside = peer_cases(prepared, settings)
            cases += [case for case in beside if case.workload in workloads_wanted]
        report = measured(cases, place, settings, facts=facts, save=wanted.save)
    show(report, wanted)


if __name__ == "__main__":
    bench()
