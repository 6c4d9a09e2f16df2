"""`pgqueue types`: the job types, their settings, and pausing one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pgqueue.calls import operator as calls
from pgqueue.cli.base import Failure, Group
from pgqueue.cli.database import connected
from pgqueue.cli.output import Column, details, emit, emit_rows, shown
from pgqueue.cli.params import DURATION

if TYPE_CHECKING:
    import datetime as dt

_COLUMNS = (
    Column("job_type", "type"),
    Column("queue"),
    Column("enabled"),
    Column("paused", kind="flag", optional=True),
    Column("workers", kind="number"),
    Column("max_attempts", "attempts", kind="number"),
    Column("timeout_seconds", "timeout", kind="seconds", optional=True),
    Column("succeeded", "ok 24 h", kind="number"),
    Column("failed", "failed 24 h", kind="number"),
    Column("run_p50_seconds", "run p50", kind="seconds"),
    Column("run_p95_seconds", "run p95", kind="seconds"),
    Column("description", optional=True),
)


@click.group(cls=Group)
def types() -> None:
    """List job types, pause one, change its settings."""


@types.command("list", examples=("pgqueue types list", "pgqueue types list --json"))
def list_() -> None:
    """Show every job type: its settings in force, who handles it, how it fared in 24 hours."""
    with connected() as db:
        rows = db.view("job_type_stats", order="job_type")
    emit_rows(rows, _COLUMNS, nothing="No job types.")


@types.command(examples=("pgqueue types show import_prices",))
@click.argument("job_type")
def show(job_type: str) -> None:
    """Show one job type in full."""
    with connected() as db:
        rows = db.view("job_type_stats", where={"job_type": job_type})
    if not rows:
        raise Failure(
            f"job type {job_type!r} is not known",
            hint="A worker registers its types when it starts; `pgqueue types list` shows them.",
            code="unknown_job_type",
            exit_code=3,
        )
    facts = [
        (key.removesuffix("_seconds").replace("_", " "), shown(value, _kind(key)))
        for key, value in rows[0].items()
    ]
    emit(rows[0], details(facts))


def _kind(key: str) -> Any:
    return "seconds" if key.endswith("_seconds") else "text"


@types.command(examples=("pgqueue types pause import_prices --reason 'supplier sends rubbish'",))
@click.argument("job_type")
@click.option("--reason", metavar="TEXT", help="Shown to whoever asks why jobs wait.")
def pause(job_type: str, reason: str | None) -> None:
    """Hold a job type: no more of its jobs are claimed. What runs goes on."""
    with connected() as db:
        db.run(calls.pause_job_type(job_type, reason=reason))
    emit({"job_type": job_type, "paused": True}, f"job type {job_type} paused")


@types.command(examples=("pgqueue types resume import_prices",))
@click.argument("job_type")
def resume(job_type: str) -> None:
    """Let a paused job type go on."""
    with connected() as db:
        db.run(calls.resume_job_type(job_type))
    emit({"job_type": job_type, "paused": False}, f"job type {job_type} resumed")


@types.command(
    "set",
    examples=(
        "pgqueue types set import_prices --max-attempts 3 --timeout 10m",
        "pgqueue types set old_report --disable",
        "pgqueue types set import_prices --worker-managed",
    ),
)
@click.argument("job_type")
@click.option("--enable/--disable", "enabled", default=None, help="Whether it accepts jobs.")
@click.option("--queue", metavar="QUEUE", help="Where its jobs go unless they name a queue.")
@click.option("--max-attempts", type=click.IntRange(1, 10_000), metavar="N", help="Per job.")
@click.option("--timeout", type=DURATION, metavar="DURATION", help="How long a run may take.")
@click.option("--backoff-base", type=DURATION, metavar="DURATION", help="Wait before attempt 2.")
@click.option(
    "--backoff-factor",
    type=click.FloatRange(1, 100),
    metavar="FACTOR",
    help="The wait grows by this.",
)
@click.option("--backoff-cap", type=DURATION, metavar="DURATION", help="The longest wait.")
@click.option("--retention", type=DURATION, metavar="DURATION", help="Keep finished jobs so long.")
@click.option("--description", metavar="TEXT", help="What its jobs do.")
@click.option(
    "--worker-managed", is_flag=True, help="Let the workers' own declarations count again."
)
def set_(
    job_type: str,
    enabled: bool | None,  # noqa: FBT001
    queue: str | None,
    max_attempts: int | None,
    timeout: dt.timedelta | None,
    backoff_base: dt.timedelta | None,
    backoff_factor: float | None,
    backoff_cap: dt.timedelta | None,
    retention: dt.timedelta | None,
    description: str | None,
    worker_managed: bool,  # noqa: FBT001
) -> None:
    """
    Change a job type's settings; what is not named stays.

    From then on what workers declare for this type is ignored, until --worker-managed.
    """
    given: dict[str, Any] = {
        "enabled": enabled,
        "queue": queue,
        "max_attempts": max_attempts,
        "timeout": timeout,
        "backoff_base": backoff_base,
        "backoff_factor": backoff_factor,
        "backoff_cap": backoff_cap,
        "retention": retention,
        "description": description,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    if not changed and not worker_managed:
        raise click.UsageError("Nothing to change: name a setting.")
    with connected() as db:
        db.run(calls.set_job_type(job_type, operator_managed=not worker_managed, **given))
    told = ", ".join(f"{name} {shown(value)}" for name, value in changed.items())
    text = f"job type {job_type}: {told or 'managed by its workers'}"
    emit({"job_type": job_type, "operator_managed": not worker_managed, **changed}, text)
