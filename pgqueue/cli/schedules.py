"""`pgqueue schedules`: what is enqueued when."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

import click

from pgqueue.calls import schedules as calls
from pgqueue.cli.base import Failure, Group
from pgqueue.cli.database import Database, connected
from pgqueue.cli.output import Column, emit, emit_rows, shown
from pgqueue.cli.params import DURATION, JSON_OBJECT, MOMENT, PRIORITY
from pgqueue.schedule import CatchUp, Overlap

if TYPE_CHECKING:
    import datetime as dt

_COLUMNS = (
    Column("name"),
    Column("status"),
    Column("cron"),
    Column("time_zone", "zone"),
    Column("job_type", "type"),
    Column("next_tick_at", "next tick", kind="time"),
    Column("last_tick_at", "last tick", kind="time"),
    Column("last_outcome", "last"),
    Column("last_job_status", "job"),
    Column("description", optional=True),
)
_EXPRESSION = re.compile(r"@|[\d*]\S*\s")  # what looks like cron and is no schedule's name
_HISTORY = (
    Column("tick_at", "tick", kind="time"),
    Column("outcome"),
    Column("job_id", "job"),
    Column("job_status", "status"),
    Column("started_at", "started", kind="time"),
    Column("finished_at", "finished", kind="time"),
    Column("missed_until", "missed until", kind="time", optional=True),
    Column("error", optional=True),
)


@click.group(cls=Group)
def schedules() -> None:
    """List schedules, set one, pause it, run it now, see its ticks."""


@schedules.command("list", examples=("pgqueue schedules list", "pgqueue schedules list --json"))
def list_() -> None:
    """Show every schedule: when it ticks next, and what became of its last tick."""
    with connected() as db:
        rows = db.view("schedule_status", order="name")
    emit_rows(rows, _COLUMNS, nothing="No schedules.")


@schedules.command(
    "set",
    examples=(
        "pgqueue schedules set nightly --cron '0 2 * * *' --zone Europe/Berlin --type send_report",
        "pgqueue schedules set nightly --jitter 10m --overlap skip",
        "pgqueue schedules set nightly --disable",
    ),
)
@click.argument("name")
@click.option("--cron", metavar="CRON", help="Five fields, or six with seconds first; @daily.")
@click.option("--type", "job_type", metavar="TYPE", help="What it enqueues.")
@click.option("--payload", type=JSON_OBJECT, metavar="JSON", help="With which payload.")
@click.option("--zone", "time_zone", metavar="ZONE", help="In whose local time; default UTC.")
@click.option("--queue", metavar="QUEUE", help="Into which queue; default the type's.")
@click.option("--priority", type=PRIORITY, help="high, normal, low or bulk.")
@click.option(
    "--overlap",
    type=click.Choice(get_args(Overlap)),
    help="While the run before has not finished; default allow.",
)
@click.option(
    "--catch-up",
    type=click.Choice(get_args(CatchUp)),
    help="Of ticks that were missed; default one, the latest.",
)
@click.option(
    "--catch-up-max", type=click.IntRange(1, 1000), metavar="N", help="With all: the latest N."
)
@click.option("--grace", type=DURATION, metavar="DURATION", help="Later than this is missed.")
@click.option("--jitter", type=DURATION, metavar="DURATION", help="Start at random within this.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether it ticks.")
@click.option("--description", metavar="TEXT", help="What it is for.")
def set_(name: str, **options: Any) -> None:
    """
    Create a schedule or change it; what is not given stays.

    From then on what workers declare about this schedule is ignored.
    """
    with connected() as db:
        tick = db.run(calls.set_schedule(name, **options))
    _told(name, tick, "set")


@schedules.command(examples=("pgqueue schedules pause nightly --reason 'month end'",))
@click.argument("name")
@click.option("--reason", metavar="TEXT", help="Shown in the list.")
def pause(name: str, reason: str | None) -> None:
    """Let a schedule's ticks pass. They are not made up for."""
    with connected() as db:
        db.run(calls.pause_schedule(name, reason=reason))
    emit({"name": name, "paused": True}, f"schedule {name} paused")


@schedules.command(examples=("pgqueue schedules resume nightly",))
@click.argument("name")
def resume(name: str) -> None:
    """Let a paused schedule tick again, from its next tick on."""
    with connected() as db:
        tick = db.run(calls.resume_schedule(name))
    _told(name, tick, "resumed")


@schedules.command(examples=("pgqueue schedules run nightly",))
@click.argument("name")
def run(name: str) -> None:
    """Enqueue its job now; its ticks stay where they are."""
    with connected() as db:
        job_id = db.run(calls.run_schedule_now(name))
    emit({"name": name, "job_id": job_id}, str(job_id))


@schedules.command(examples=("pgqueue schedules remove nightly",))
@click.argument("name")
def remove(name: str) -> None:
    """Forget a schedule; its jobs and its history stay."""
    with connected() as db:
        if not db.run(calls.remove_schedule(name)):
            raise _unknown(name)
    emit({"name": name, "removed": True}, f"schedule {name} removed")


@schedules.command(
    "next",
    examples=(
        "pgqueue schedules next nightly",
        "pgqueue schedules next --cron '*/15 8-18 * * mon-fri' --zone America/New_York -n 3",
    ),
)
@click.argument("name", required=False)
@click.option("--cron", metavar="CRON", help="An expression instead of a schedule.")
@click.option("--zone", "time_zone", metavar="ZONE", default="UTC", help="For --cron.")
@click.option("--after", type=MOMENT, metavar="TIME", help="Instead of now.")
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=10, help="How many.")
def next_(
    name: str | None, cron: str | None, time_zone: str, after: dt.datetime | None, count: int
) -> None:
    """Show the next ticks of a schedule, or of an expression."""
    if (name is None) == (cron is None):
        raise click.UsageError("Give the name of a schedule, or --cron.")
    with connected() as db:
        if name is not None:
            hint = "For an expression write --cron." if _EXPRESSION.match(name) else None
            row = _find(db, name, hint=hint)
            cron, time_zone = row["cron"], row["time_zone"]
        assert cron is not None
        ticks = db.run(calls.next_ticks(cron, time_zone=time_zone, after=after, count=count))
    rows = [{"tick_at": tick} for tick in ticks]
    emit_rows(rows, (Column("tick_at", "tick", kind="time"),), nothing="It never ticks again.")


@schedules.command(examples=("pgqueue schedules history nightly -n 5",))
@click.argument("name")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=20, help="How many.")
def history(name: str, limit: int) -> None:
    """Show what became of its last ticks, latest first."""
    with connected() as db:
        rows = db.view(
            "schedule_history", where={"schedule": name}, order="tick_at desc", limit=limit
        )
        if not rows:
            _find(db, name)
    emit_rows(rows, _HISTORY, nothing="It has not ticked yet.")


def _find(db: Database, name: str, *, hint: str | None = None) -> dict[str, Any]:
    rows = db.view("schedule_status", where={"name": name})
    if not rows:
        raise _unknown(name, hint=hint)
    return rows[0]


def _unknown(name: str, *, hint: str | None = None) -> Failure:
    return Failure(
        f"schedule {name!r} does not exist",
        hint=hint or "`pgqueue schedules list` shows those that do.",
        code="unknown_schedule",
        exit_code=3,
    )


def _told(name: str, tick: dt.datetime | None, what: str) -> None:
    text = f"next tick {shown(tick, 'time')}" if tick else "it never ticks again"
    emit({"name": name, "next_tick_at": tick}, f"schedule {name} {what}; {text}")
