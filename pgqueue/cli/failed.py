"""`pgqueue failed`: the dead letters, and how to run them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgqueue.calls import operator as calls
from pgqueue.cli.base import Group
from pgqueue.cli.database import connected
from pgqueue.cli.output import Column, counted, emit, emit_rows, note, progress
from pgqueue.cli.params import SINCE

if TYPE_CHECKING:
    import datetime as dt

REDRIVE_CHUNK = 500
_NOTHING_NAMED = "Name jobs by --type, --queue or --since, or say --all."

_COLUMNS = (
    Column("id"),
    Column("job_type"),
    Column("queue"),
    Column("failed_at", kind="time"),
    Column("attempts", kind="number"),
    Column("error_code", "code"),
    Column("error_message", "error"),
)


@click.group(cls=Group)
def failed() -> None:
    """List failed jobs, and redrive them."""


@failed.command(
    "list",
    examples=("pgqueue failed list --type import_prices", "pgqueue failed list --json"),
)
@click.option("--type", "job_type", metavar="TYPE", help="Only this job type.")
@click.option("--queue", metavar="QUEUE", help="Only this queue.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many."
)
def list_(job_type: str | None, queue: str | None, limit: int) -> None:
    """Show failed jobs with their errors, the latest first."""
    where = {"job_type": job_type, "queue": queue}
    with connected() as db:
        rows = db.view("failed_jobs", where=where, order="failed_at desc", limit=limit)
    emit_rows(rows, _COLUMNS, nothing="No failed jobs.")
    if len(rows) == limit:
        note(f"The latest {limit}; --limit shows more.")


@failed.command(
    examples=(
        "pgqueue failed redrive --type import_prices --since 2h",
        "pgqueue failed redrive --all",
    )
)
@click.option("--type", "job_type", metavar="TYPE", help="Only this job type.")
@click.option("--queue", metavar="QUEUE", help="Only this queue.")
@click.option(
    "--since", type=SINCE, metavar="TIME", help="Failed since then: ISO 8601, or 2h for ago."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many; oldest first.")
@click.option("--all", "everything", is_flag=True, help="Every failed job.")
def redrive(
    job_type: str | None,
    queue: str | None,
    since: dt.datetime | None,
    limit: int | None,
    *,
    everything: bool,
) -> None:
    """
    Run failed jobs again, each with all its attempts.

    Jobs that have expired, or whose unique key another job holds by now, are left. Redriving takes
    several transactions: stopping half-way is harmless.
    """
    if not everything and job_type is None and queue is None and since is None:
        raise click.UsageError(_NOTHING_NAMED)
    redriven = 0
    with connected() as db, progress(limit, "redriving") as bar:
        while limit is None or redriven < limit:
            chunk = REDRIVE_CHUNK if limit is None else min(REDRIVE_CHUNK, limit - redriven)
            call = calls.redrive(job_type=job_type, queue=queue, since=since, limit=chunk)
            moved = db.run(call)
            if not moved:
                break
            redriven += moved
            bar.update(moved)
    emit({"redriven": redriven}, f"{counted(redriven, 'job')} redriven")
