"""
`make bench`: the workloads of `pgqueue bench`, and the peers in turns with them.

Without arguments everything, on an embedded server; with PGQUEUE_DSN or PG* on that one. The other
arguments are those of `pgqueue bench`, and `--peers DIRECTORY` names the peers' environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgqueue.bench import BenchSettings, Report, cases_of
from pgqueue.bench.markdown import markdown
from pgqueue.bench.saved import load
from pgqueue.cli.base import Command, handled
from pgqueue.cli.bench import Output, measured, open_place, output, show, sizes
from pgqueue.cli.output import note
from tests.bench.cases import PEERS, ROOT, describe, peer_cases, prepare
from tests.bench.summary import summary

README = ROOT / "README.md"
FIGURES = ROOT / "tests" / "bench" / "README.md"


@click.command(cls=Command)
@click.argument("workloads", nargs=-1)
@sizes
@output
@click.option(
    "--readme",
    is_flag=True,
    help="Write the tables into tests/bench/README.md, their summary into README.md.",
)
@click.option(
    "--peers",
    type=click.Path(file_okay=False, path_type=Path),
    help="The peers' environment; none: no peers.",
)
def bench(*, workloads: tuple[str, ...], readme: bool, peers: Path | None, **given: Any) -> None:
    """Measure pgqueue and its peers on one server, in turns."""
    report = handled(lambda: _bench(workloads, peers=peers, given=given))
    if readme:
        FIGURES.write_text(with_figures(FIGURES.read_text("utf-8"), report), "utf-8")
        README.write_text(with_summary(README.read_text("utf-8"), markdown(report)), "utf-8")


def _bench(workloads: tuple[str, ...], *, peers: Path | None, given: dict[str, Any]) -> Report:
    wanted = Output.taken_from(given)
    if wanted.files:
        report = load(wanted.files)
        show(report, wanted)
        return report
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
    return report


def with_figures(text: str, report: Report) -> str:
    """
    Put a report's table between the two marks in a text.

    Args:
        text: Of tests/bench/README.md.
        report: What was measured.
    """
    return _placed(text, "figures", markdown(report))


def with_summary(text: str, figures: str) -> str:
    """
    Put the summary of a table between its two marks in a text.

    Args:
        text: Of README.md.
        figures: The table.
    """
    return _placed(text, "aims", summary(figures))


def _placed(text: str, name: str, content: str) -> str:
    before, after = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, _, rest = text.partition(before)
    _, _, tail = rest.partition(after)
    return f"{head}{before}\n{content}\n{after}{tail}"


if __name__ == "__main__":
    bench()
