"""`pgqueue workers`: who works, and how to stop one gently."""

from __future__ import annotations

import click

from pgqueue.calls import operator as calls
from pgqueue.cli.base import Group
from pgqueue.cli.database import connected
from pgqueue.cli.output import Column, emit, emit_rows

_COLUMNS = (
    Column("id", kind="text"),
    Column("name"),
    Column("status"),
    Column("queues"),
    Column("running", kind="number"),
    Column("finished_5_minutes", "done 5 min", kind="number"),
    Column("heartbeat_seconds", "heartbeat", kind="seconds"),
    Column("lease_left_seconds", "lease left", kind="seconds"),
    Column("started_at", "started", kind="time"),
)


@click.group(cls=Group)
def workers() -> None:
    """List workers, and drain one."""


@workers.command("list", examples=("pgqueue workers list", "pgqueue workers list --all --json"))
@click.option("--all", "everyone", is_flag=True, help="Stopped and dead ones too.")
def list_(*, everyone: bool) -> None:
    """Show the workers: what they listen to, what they run, when they were last heard of."""
    alive = None if everyone else ("alive", "draining")
    with connected() as db:
        rows = db.view("worker_status", where={"status": alive}, order="id")
    emit_rows(rows, _COLUMNS, nothing="No workers." if everyone else "No live workers.")


@workers.command(examples=("pgqueue workers drain 17",))
@click.argument("worker_id", type=int)
def drain(worker_id: int) -> None:
    """
    Ask a worker to finish what it runs and stop.

    It hears of it at its next heartbeat. WORKER_ID is the number that `workers list` shows.
    """
    with connected() as db:
        db.run(calls.drain_worker(worker_id))
    emit({"worker_id": worker_id, "draining": True}, f"worker {worker_id} drains")
