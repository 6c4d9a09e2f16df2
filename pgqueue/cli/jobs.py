"""`pgqueue status` and `pgqueue jobs`: look at jobs, and move single ones."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from pgqueue.calls import operator as calls
from pgqueue.calls.job_status import FINISHED
from pgqueue.cli.base import Command, Group, for_people, message_of, state
from pgqueue.cli.database import Database, connected
from pgqueue.cli.job_view import describe, find_job
from pgqueue.cli.output import Column, as_json, emit, emit_rows, note, shown
from pgqueue.cli.params import DURATION, JOB_ID, MOMENT, PRIORITY
from pgqueue.cli.terminal import printable
from pgqueue.errors import PgqueueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STATUSES = (
    "scheduled",
    "queued",
    "blocked",
    "running",
    "retrying",
    "succeeded",
    "partial",
    "failed",
    "cancelled",
)

_LIST = (
    Column("id"),
    Column("job_type"),
    Column("queue"),
    Column("status"),
    Column("progress", kind="percent"),
    Column("attempt", kind="number"),
    Column("created_at", "created", kind="time"),
    Column("run_at", "due", kind="time", optional=True, only=frozenset({"scheduled", "retrying"})),
    Column("worker", optional=True),
    Column("tenant_id", "tenant", optional=True),
)
# Views that find the jobs of one status without reading the others.
_INDEXED = {
    "running": ("running_jobs", "started_at desc"),
    "failed": ("failed_jobs", "failed_at desc"),
}
_EVENTS = (
    Column("at", kind="time"),
    Column("event"),
    Column("attempt", kind="number"),
    Column("worker"),
    Column("detail"),
)


def show_job(job_id: UUID) -> None:
    """Print one job with its attempts and why it waits."""
    with connected() as db:
        job = find_job(db, job_id)
        why = None
        if job["status"] not in FINISHED:
            why = db.run(calls.why_waiting(job_id))
    emit({**job, "why_waiting": why}, describe(job, why))


@click.command(
    cls=Command,
    examples=(
        "pgqueue status 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a",
        "pgqueue status 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a --json | jq .status",
    ),
)
@click.argument("job_id", type=JOB_ID)
def status(job_id: UUID) -> None:
    """
    Show a job: where it stands, why it waits, how it ended.

    The same as `pgqueue jobs show`. Exits with 3 if there is no such job.
    """
    show_job(job_id)


@click.group(cls=Group)
def jobs() -> None:
    """List jobs, and cancel, retry or move single ones."""


@jobs.command(
    "list",
    examples=(
        "pgqueue jobs list --status failed --type import_prices",
        "pgqueue jobs list --queue mail --limit 500 --json",
    ),
)
@click.option(
    "--status",
    "statuses",
    type=click.Choice(STATUSES),
    multiple=True,
    metavar="STATUS",
    help="Only this status; repeatable.",
)
@click.option("--type", "job_type", metavar="TYPE", help="Only this job type.")
@click.option("--queue", metavar="QUEUE", help="Only this queue.")
@click.option("--tenant", metavar="TENANT", help="Only this tenant.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many."
)
def list_(
    statuses: tuple[str, ...],
    job_type: str | None,
    queue: str | None,
    tenant: str | None,
    limit: int,
) -> None:
    """
    List jobs, the newest first.

    Statuses: scheduled, queued, blocked, running, retrying, succeeded, partial, failed, cancelled.
    Running and failed jobs are found at once; any other status that is rare among millions of jobs
    takes a while.
    """
    where: dict[str, Any] = {"job_type": job_type, "queue": queue}
    columns = ["id", "job_type", "queue", "status", "priority", "progress", "progress_message"]
    columns += ["attempt", "max_attempts", "created_at", "run_at", "started_at", "finished_at"]
    columns += ["worker", "tenant_id", "unique_key"]
    with connected() as db:
        if len(statuses) == 1 and statuses[0] in _INDEXED and tenant is None:
            view, order = _INDEXED[statuses[0]]
            found = db.view(view, ["id"], where=where, order=order, limit=limit)
            where = {"id": tuple(row["id"] for row in found) or (UUID(int=0),)}
        where |= {"status": statuses, "tenant_id": tenant}
        rows = db.view("job_status", columns, where=where, order="id desc", limit=limit)
    emit_rows(rows, _LIST, nothing="No jobs.")
    if len(rows) == limit:
        note(f"The newest {limit}; --limit shows more.")


@jobs.command(examples=("pgqueue jobs show 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a",))
@click.argument("job_id", type=JOB_ID)
def show(job_id: UUID) -> None:
    """Show a job, as `pgqueue status` does."""
    show_job(job_id)


@jobs.command(examples=("pgqueue jobs result 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a | jq .total",))
@click.argument("job_id", type=JOB_ID)
def result(job_id: UUID) -> None:
    """Print what a job's handler returned, as JSON."""
    with connected() as db:
        job = find_job(db, job_id)
    click.echo(as_json(job["result"]))


@jobs.command(examples=("pgqueue jobs timeline 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a",))
@click.argument("job_id", type=JOB_ID)
def timeline(job_id: UUID) -> None:
    """Show what happened to a job, the oldest event first."""
    with connected() as db:
        rows = db.view("job_timeline", where={"job_id": job_id}, order="at")
        if not rows:
            find_job(db, job_id)
    emit_rows(rows, _EVENTS, nothing="No events.")


def for_each(
    job_ids: Sequence[UUID], act: Callable[[Database, UUID], tuple[str, dict[str, Any]]]
) -> None:
    """
    Do something to each job; one that refuses does not keep the others from it.

    Args:
        job_ids: Which.
        act: Returns what became of it, in words and as members for --json.

    Raises:
        click.exceptions.Exit: With the exit code of the first that refused.
    """
    done: list[dict[str, Any]] = []
    first: PgqueueError | None = None
    with connected() as db:
        for job_id in job_ids:
            try:
                said, members = act(db, job_id)
            except PgqueueError as error:
                if db.connection.closed:
                    raise
                first = first or error
                told = message_of(error)
                done.append(
                    {"job_id": job_id, "error": error.code, "message": told, "hint": error.hint}
                )
                note(for_people(told, error.hint))
            else:
                done.append({"job_id": job_id, **members})
                if not state().json:
                    click.echo(printable(f"{job_id} {said}"))
    if state().json:
        click.echo(as_json(done))
    if first is not None:
        raise click.exceptions.Exit(first.exit_code)


@jobs.command(
    examples=("pgqueue jobs cancel 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a --reason 'wrong file'",)
)
@click.argument("job_ids", type=JOB_ID, nargs=-1, required=True, metavar="JOB_ID...")
@click.option("--reason", metavar="TEXT", help="Kept with the job.")
def cancel(job_ids: tuple[UUID, ...], reason: str | None) -> None:
    """
    Cancel jobs.

    A job that waits is cancelled at once. A job that runs is asked to stop, and is cancelled when
    its worker has heard of it; if its handler finishes first, it has succeeded.
    """

    def act(db: Database, job_id: UUID) -> tuple[str, dict[str, Any]]:
        said = db.run(calls.cancel(job_id, reason=reason))
        if said == "running":
            return "running, asked to stop", {"status": said, "cancel_requested": True}
        return said, {"status": said}

    for_each(job_ids, act)


@jobs.command(examples=("pgqueue jobs retry 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a",))
@click.argument("job_ids", type=JOB_ID, nargs=-1, required=True, metavar="JOB_ID...")
def retry(job_ids: tuple[UUID, ...]) -> None:
    """
    Run jobs again, now.

    A finished job starts over with all its attempts; one that waits for its time or its backoff
    runs at once. For many failed jobs use `pgqueue failed redrive`.
    """

    def act(db: Database, job_id: UUID) -> tuple[str, dict[str, Any]]:
        db.run(calls.retry(job_id))
        return "queued", {"status": "queued"}

    for_each(job_ids, act)


@jobs.command(
    examples=(
        "pgqueue jobs reschedule 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a --run-at 2030-01-31T18:00",
        "pgqueue jobs reschedule 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a --delay 2h",
    )
)
@click.argument("job_ids", type=JOB_ID, nargs=-1, required=True, metavar="JOB_ID...")
@click.option("--run-at", type=MOMENT, metavar="TIME", help="ISO 8601; local without an offset.")
@click.option("--delay", type=DURATION, metavar="DURATION", help="From now, like 5m or 2h30m.")
def reschedule(
    job_ids: tuple[UUID, ...], run_at: dt.datetime | None, delay: dt.timedelta | None
) -> None:
    """Move waiting jobs in time: to --run-at, by --delay from now, or to now."""
    if run_at is not None and delay is not None:
        raise click.UsageError("Give --run-at or --delay, not both.")
    if delay is not None:
        run_at = dt.datetime.now().astimezone() + delay
    moment = run_at or dt.datetime.now().astimezone()

    def act(db: Database, job_id: UUID) -> tuple[str, dict[str, Any]]:
        db.run(calls.reschedule(job_id, moment))
        return f"due {shown(moment)}", {"run_at": moment}

    for_each(job_ids, act)


@jobs.command(examples=("pgqueue jobs reprioritise 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a high",))
@click.argument("job_id", type=JOB_ID)
@click.argument("priority", type=PRIORITY)
def reprioritise(job_id: UUID, priority: int) -> None:
    """Change a waiting job's priority: high, normal, low or bulk."""
    with connected() as db:
        db.run(calls.reprioritise(job_id, priority))
    emit({"job_id": job_id, "priority": priority}, f"{job_id} priority {priority}")
