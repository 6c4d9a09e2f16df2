"""`pgqueue verify`, `maintain` and `health`: for people, cron and probes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from pgqueue import calls
from pgqueue import health as probes
from pgqueue.cli.base import Command
from pgqueue.cli.database import connected
from pgqueue.cli.output import Column, details, emit, emit_rows, shown
from pgqueue.cli.params import DURATION
from pgqueue.cli.terminal import printable

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

_PROBLEMS = (Column("problem"), Column("job_id", "job"), Column("detail"))


@click.command(cls=Command, examples=("pgqueue verify", "pgqueue verify --json"))
def verify() -> None:
    """
    Check that every job is in exactly one place.

    Checks the invariants between the tables. Reads everything: for tests and for doubts, not for
    dashboards. Exits with 1 if one does not hold.
    """
    with connected(statement_seconds=0) as db:
        rows = [dataclasses.asdict(problem) for problem in db.run(calls.verify())]
    emit_rows(rows, _PROBLEMS, nothing="No problems.")
    if rows:
        raise click.exceptions.Exit(1)


@click.command(cls=Command, examples=("pgqueue maintain", "* * * * * pgqueue maintain  # cron"))
@click.option(
    "--limit", type=click.IntRange(1), default=1_000, show_default=True, help="Jobs per step."
)
def maintain(limit: int) -> None:
    """
    Do what workers do in passing, once.

    Promotes due jobs, takes back those of dead workers, expires and removes old ones, merges
    statistics. Needed only where no worker runs; harmless beside them.
    """
    with connected() as db:
        done = dataclasses.asdict(db.run(calls.maintain(limit)))
    emit(done, details([(name.replace("_", " "), shown(value)) for name, value in done.items()]))


def report(findings: Sequence[probes.Finding]) -> None:
    """
    Print what checks found.

    Args:
        findings: One per check.

    Raises:
        click.exceptions.Exit: With 1 if one of them failed.
    """
    text = printable("\n".join(probes.lines(findings)))
    emit([dataclasses.asdict(finding) for finding in findings], text)
    if not probes.well(findings):
        raise click.exceptions.Exit(1)


@click.command(
    cls=Command,
    examples=(
        "pgqueue health",
        "pgqueue health --max-oldest-ready 5m --worker web-1",
    ),
)
@click.option(
    "--max-oldest-ready",
    type=DURATION,
    metavar="DURATION",
    help="Fail if a job has been ready for longer; paused queues do not count.",
)
@click.option("--worker", metavar="NAME", help="Fail unless a worker of this name lives.")
def health(max_oldest_ready: dt.timedelta | None, worker: str | None) -> None:
    """
    Say whether the queue is well, one line per check, for probes.

    With options only what they ask is checked: for a worker's own probe, --worker. Exits with 1 if
    a check fails, with 7 if the database cannot be reached.
    """
    seconds = None if max_oldest_ready is None else max_oldest_ready.total_seconds()
    with connected() as db:
        found = probes.health(db.connection, oldest_ready_seconds=seconds, worker=worker)
    report(found)
