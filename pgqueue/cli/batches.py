"""`pgqueue batches`: how far they are, and closing one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pgqueue import calls
from pgqueue.cli.base import Group
from pgqueue.cli.database import connected
from pgqueue.cli.output import Column, details, emit, emit_rows, note, shown
from pgqueue.cli.params import JOB_ID
from pgqueue.errors import BatchNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

_NUMBERS = ("total", "waiting", "running", "succeeded", "failed", "cancelled")
_COLUMNS = (
    Column("id"),
    Column("name", optional=True),
    Column("status"),
    Column("percent", "done", kind="percent"),
    *(Column(name, kind="number") for name in _NUMBERS),
    Column("created_at", "opened", kind="time"),
)
_CALLBACKS = {"on success": "success", "on failure": "failure", "on complete": "complete"}


@click.group(cls=Group)
def batches() -> None:
    """List batches of jobs, look at one, close one."""


@batches.command("list", examples=("pgqueue batches list", "pgqueue batches list --limit 5 --json"))
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many."
)
def list_(*, limit: int) -> None:
    """Show batches and how far they are, the latest first."""
    with connected() as db:
        rows = db.view("batch_status", order="id desc", limit=limit)
    emit_rows(rows, _COLUMNS, nothing="No batches.")
    if len(rows) == limit:
        note(f"The latest {limit}; --limit shows more.")


@batches.command(examples=("pgqueue batches show 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a",))
@click.argument("batch_id", type=JOB_ID, metavar="BATCH_ID")
def show(batch_id: UUID) -> None:
    """Show one batch, and the jobs that followed it. Exits with 3 if there is none."""
    with connected() as db:
        rows = db.view("batch_status", where={"id": batch_id})
    if not rows:
        raise BatchNotFound(
            f"batch {batch_id} does not exist", hint="`pgqueue batches list` shows what is there."
        )
    emit(rows[0], describe(rows[0]))


def describe(batch: Mapping[str, Any]) -> str:
    """
    A batch for people: a line per fact.

    Args:
        batch: A row of batch_status.
    """
    numbers = (f"{batch[name]:,} {name}" for name in _NUMBERS[1:] if batch[name])
    facts = [
        ("batch", str(batch["id"])),
        ("name", shown(batch["name"])),
        ("description", shown(batch["description"])),
        ("status", shown(batch["status"])),
        ("jobs", ", ".join([f"{batch['total']:,}", *numbers])),
        ("done", shown(batch["percent"], "percent")),
        ("opened", shown(batch["created_at"], "time")),
        ("closed", shown(batch["closed_at"], "time")),
        ("finished", shown(batch["finished_at"], "time")),
    ]
    for label, event in _CALLBACKS.items():
        refused = batch["refused"].get(event)
        facts.append((label, f"refused: {refused}" if refused else shown(batch[f"{event}_job_id"])))
    return details(facts)


@batches.command(examples=("pgqueue batches close 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a",))
@click.argument("batch_id", type=JOB_ID, metavar="BATCH_ID")
def close(batch_id: UUID) -> None:
    """Let no more jobs in from outside: the batch finishes with its last job."""
    with connected() as db:
        db.run(calls.close_batch(batch_id))
    emit({"id": batch_id, "closed": True}, f"batch {batch_id} closed")
