"""`pgqueue queues`: how full they are; pause, resume, purge, drain."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from pgqueue.calls import operator as calls
from pgqueue.cli.base import Group, state
from pgqueue.cli.database import Database, connected
from pgqueue.cli.output import Column, counted, emit, emit_rows, note, progress
from pgqueue.cli.params import DURATION
from pgqueue.errors import WaitTimeout

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

PURGE_CHUNK = 1_000
POLL_SECONDS_MAX = 1.0
PRIVATE_QUEUE = re.compile(r"run-[0-9a-f]{16}")  # as `pgqueue run` names them
_WAITING = ("depth", "scheduled", "blocked")

_COLUMNS = (
    Column("queue"),
    Column("paused", kind="flag", optional=True),
    Column("depth", "queued", kind="number"),
    Column("oldest_ready_seconds", "oldest", kind="seconds"),
    Column("running", kind="number"),
    Column("scheduled", kind="number"),
    Column("blocked", kind="number"),
    Column("failed", kind="number"),
    Column("finished_per_minute", "done/min", kind="number"),
    Column("failed_per_minute", "failed/min", kind="number"),
    Column("wait_p95_seconds", "wait p95", kind="seconds"),
    Column("run_p50_seconds", "run p50", kind="seconds"),
    Column("run_p95_seconds", "run p95", kind="seconds"),
)


@click.group(cls=Group)
def queues() -> None:
    """List queues, and pause, resume, purge or drain one."""


@queues.command("list", examples=("pgqueue queues list", "pgqueue queues list --json"))
def list_() -> None:
    """
    Show every queue: how many jobs wait and run, and how long it takes.

    Rates are of the last five minutes, percentiles of the last hour. Counts stop at 100,000. The
    private queues of `pgqueue run` (run-...) are left out when nothing waits or runs in them.
    """
    with connected() as db:
        rows = db.view("queue_stats", order="queue")
    emit_rows([row for row in rows if not _is_over(row)], _COLUMNS, nothing="No queues.")


def _is_over(row: Mapping[str, Any]) -> bool:
    private = PRIVATE_QUEUE.fullmatch(row["queue"])
    return bool(private) and not any(row[key] for key in (*_WAITING, "running"))


@queues.command(examples=("pgqueue queues pause mail --reason 'provider is down'",))
@click.argument("queue")
@click.option("--reason", metavar="TEXT", help="Shown to whoever asks why jobs wait.")
def pause(queue: str, reason: str | None) -> None:
    """Hold a queue: nothing more is claimed from it. What runs goes on; producers may insert."""
    with connected() as db:
        db.run(calls.pause_queue(queue, reason=reason))
    emit({"queue": queue, "paused": True}, f"queue {queue} paused")


@queues.command(examples=("pgqueue queues resume mail",))
@click.argument("queue")
def resume(queue: str) -> None:
    """Let a paused queue go on."""
    with connected() as db:
        db.run(calls.resume_queue(queue))
    emit({"queue": queue, "paused": False}, f"queue {queue} resumed")


@queues.command(examples=("pgqueue queues purge mail --yes",))
@click.argument("queue")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(queue: str, *, yes: bool) -> None:
    """
    Cancel every waiting job of a queue; running ones go on.

    The cancelled jobs stay visible until retention removes them. Stopping half-way is harmless.
    """
    with connected() as db:
        rows = db.view("queue_stats", where={"queue": queue})
        waiting = sum(int(rows[0][key] or 0) for key in _WAITING) if rows else 0
        if not yes and not _agreed(queue, waiting):
            raise click.exceptions.Exit(1)
        cancelled = 0
        with progress(waiting, f"purging {queue}") as bar:
            while moved := db.run(calls.purge_queue(queue, limit=PURGE_CHUNK)):
                cancelled += moved
                bar.update(moved)
    emit(
        {"queue": queue, "cancelled": cancelled},
        f"queue {queue}: {counted(cancelled, 'job')} cancelled",
    )


def _agreed(queue: str, waiting: int) -> bool:
    if state().json:
        raise click.UsageError("With --json nobody is asked: add --yes.")
    try:
        question = f"Cancel {counted(waiting, 'waiting job')} of queue {queue}?"
        return click.confirm(question, default=False, err=True)
    except click.Abort:
        note("")
        return False


@queues.command(examples=("pgqueue queues drain mail --timeout 10m",))
@click.argument("queue")
@click.option("--timeout", type=DURATION, metavar="DURATION", help="Give up after this long.")
def drain(queue: str, timeout: dt.timedelta | None) -> None:
    """
    Wait until no job of a queue is ready or runs.

    Jobs for later and blocked ones do not count. Exits with 8 when --timeout passes first.
    """
    began = time.monotonic()
    pause_seconds = 0.05
    with connected() as db:
        left = _left(db, queue)
        with progress(left, f"draining {queue}") as bar:
            while left:
                if timeout is not None and time.monotonic() - began > timeout.total_seconds():
                    raise WaitTimeout(
                        f"queue {queue} still has {counted(left, 'job')} after {timeout}",
                        hint="`pgqueue queues list` and `pgqueue workers list` show who works.",
                    )
                time.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 1.5, POLL_SECONDS_MAX)
                now = _left(db, queue)
                bar.update(max(left - now, 0))
                left = now
    seconds = round(time.monotonic() - began, 3)
    emit({"queue": queue, "seconds": seconds}, f"queue {queue} is empty")


def _left(db: Database, queue: str) -> int:
    rows = db.view("queue_stats", ["depth", "running"], where={"queue": queue})
    return sum(int(row["depth"] or 0) + int(row["running"] or 0) for row in rows)
