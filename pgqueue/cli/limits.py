"""`pgqueue limits`: how many jobs run at once, how many start in a time."""

from __future__ import annotations

import datetime as dt
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from pgqueue.calls import limits as calls
from pgqueue.cli.base import Failure, Group
from pgqueue.cli.database import connected
from pgqueue.cli.output import Column, emit, emit_rows
from pgqueue.cli.params import JOB_ID
from pgqueue.errors import InvalidArgument
from pgqueue.limiting import MAX_RUNNING_MAX, RATE_MAX, parse_rate

if TYPE_CHECKING:
    from uuid import UUID

_KINDS = click.Choice(["job_type", "queue", "tenant", "key"])
_COLUMNS = (
    Column("kind"),
    Column("name"),
    Column("running", kind="number"),
    Column("max_running", "max", kind="number"),
    Column("rate_jobs", "rate", kind="number", optional=True),
    Column("rate_interval", "per", optional=True),
    Column("rate_burst", "burst", kind="number", optional=True),
    Column("parked", kind="number"),
    Column("next_opening_at", "next", kind="time", optional=True),
    Column("description", optional=True),
)


@click.group(cls=Group)
def limits() -> None:
    """List limits, set or drop one, let a blocked ordering key go on."""


@limits.command("list", examples=("pgqueue limits list", "pgqueue limits list --json"))
def list_() -> None:
    """Show every limit: what runs under it, and what is parked until there is room."""
    with connected() as db:
        rows = db.view("limit_status", order="name")
    rows.sort(key=itemgetter("kind"))
    emit_rows(rows, _COLUMNS, nothing="No limits.")


def _rate(_context: click.Context, _option: click.Parameter, given: str | None) -> Any:
    try:
        return None if given is None else parse_rate(given)
    except InvalidArgument as exc:
        raise click.BadParameter(exc.message) from None


@limits.command(
    "set",
    examples=(
        "pgqueue limits set job_type send_report --max-running 5",
        "pgqueue limits set queue mail --rate 100/minute",
        "pgqueue limits set key '*' --max-running 1",
    ),
)
@click.argument("kind", type=_KINDS)
@click.argument("name")
@click.option(
    "--max-running", type=click.IntRange(1, MAX_RUNNING_MAX), metavar="N", help="At most N at once."
)
@click.option("--rate", callback=_rate, metavar="N/TIME", help="100/minute, 5/s, 20/30 seconds.")
@click.option(
    "--burst",
    type=click.IntRange(1, RATE_MAX),
    metavar="N",
    help="So many may start at once; default 1 and what comes in 0.2 s.",
)
@click.option("--description", metavar="TEXT", help="What it is for.")
def set_(
    kind: str,
    name: str,
    max_running: int | None,
    rate: tuple[int, float] | None,
    burst: int | None,
    description: str | None,
) -> None:
    """
    Make a limit, or replace it as a whole.

    KIND is job_type, queue, tenant (NAME * = each tenant alone) or key (each concurrency_key alone,
    of the job type NAME, or * over all types). From then on what workers declare about it is
    ignored.
    """
    if max_running is None and rate is None:
        raise click.UsageError("give --max-running, --rate or both")
    jobs, seconds = rate or (None, 0.0)
    call = calls.set_limit(
        kind,
        name,
        max_running=max_running,
        rate_jobs=jobs,
        rate_interval=dt.timedelta(seconds=seconds) if rate else None,
        rate_burst=burst,
        description=description,
    )
    with connected() as db:
        db.run(call)
    emit({"kind": kind, "name": name, "set": True}, f"limit of {kind} {name} set")


@limits.command(examples=("pgqueue limits drop job_type send_report",))
@click.argument("kind", type=_KINDS)
@click.argument("name")
def drop(kind: str, name: str) -> None:
    """Drop a limit. What it held back may run."""
    with connected() as db:
        found = db.run(calls.drop_limit(kind, name))
    if not found:
        raise Failure(f"there is no limit of {kind} {name}", hint="`pgqueue limits list`")
    emit({"kind": kind, "name": name, "dropped": True}, f"limit of {kind} {name} dropped")


@limits.command(examples=("pgqueue limits skip 01976f6e-5f0c-7000-8000-000000000000",))
@click.argument("job_id", type=JOB_ID)
def skip(job_id: UUID) -> None:
    """Let the jobs behind a failed one run that blocks its ordering key. It stays failed."""
    with connected() as db:
        found = db.run(calls.skip_ordered(job_id))
    if not found:
        raise Failure(
            f"job {job_id} blocks no ordering key", hint="`pgqueue show` says where it is"
        )
    emit({"id": str(job_id), "skipped": True}, f"job {job_id} no longer blocks its key")
