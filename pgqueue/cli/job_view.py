"""One job for people: a line per fact, then its errors and its earlier attempts."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from pgqueue.cli.output import Column, details, shown, table
from pgqueue.cli.params import PRIORITIES
from pgqueue.cli.terminal import clean
from pgqueue.errors import JobNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from pgqueue.cli.database import Database

_ATTEMPTS = (
    Column("attempt", kind="number"),
    Column("outcome"),
    Column("started_at", "started", kind="time"),
    Column("ended_at", "ended", kind="time"),
    Column("worker_id", "worker id"),
    Column("error"),
)


def find_job(db: Database, job_id: UUID) -> dict[str, Any]:
    """
    One row of job_status.

    Raises:
        JobNotFound: There is none.
    """
    rows = db.view("job_status", where={"id": job_id})
    if not rows:
        raise JobNotFound(
            f"job {job_id} does not exist",
            hint="It may have been removed by retention; `pgqueue jobs list` shows what is there.",
        )
    return rows[0]


def describe(job: Mapping[str, Any], why: str | None) -> str:
    """
    A job for people: a line per fact, then its errors and its earlier attempts.

    Args:
        job: A row of job_status.
        why: Why it is not running.
    """
    progress = shown(job.get("progress"), "percent")
    attempts = f"{job['attempt']} of {job['max_attempts']}"
    names = {number: name for name, number in PRIORITIES.items()}
    facts = [
        ("job", str(job["id"])),
        ("type", shown(job["job_type"])),
        ("queue", shown(job["queue"])),
        ("status", shown(job["status"])),
        ("why", shown(why)),
        ("reason", shown(job.get("reason"))),
        ("priority", names.get(job["priority"], shown(job["priority"]))),
        ("progress", f"{progress} {shown(job.get('progress_message'))}".strip()),
        ("attempt", attempts),
        *((name.replace("_", " "), shown(job.get(name))) for name in _FACTS),
        ("waited", shown(job.get("wait_seconds"), "seconds")),
        ("ran", shown(job.get("run_seconds"), "seconds")),
    ]
    parts = [details(facts)]
    if job.get("errors"):
        errors = [dict(error) for error in job["errors"]]
        columns = [Column(key) for key in ("code", "message")] + [Column("item", optional=True)]
        parts.append("Errors\n" + table(errors, columns))
        parts += _traceback("Traceback", errors[-1])
    if job.get("attempts"):
        parts.append("Earlier attempts\n" + table(_told(job["attempts"]), _ATTEMPTS))
        if not job.get("errors"):
            latest = job["attempts"][-1]
            title = f"Traceback of attempt {latest['attempt']}"
            parts += _traceback(title, latest.get("error") or {})
    return "\n\n".join(parts)


_FACTS = (
    "worker",
    "tenant_id",
    "unique_key",
    "idempotency_key",
    "created_at",
    "created_by",
    "run_at",
    "expires_at",
    "ready_at",
    "started_at",
    "finished_at",
    "cancel_requested_at",
    "result_url",
    "result",
    "metrics",
    "created",
)


def _traceback(title: str, error: Mapping[str, Any]) -> list[str]:
    lines = str(error.get("traceback") or "").splitlines()
    return ["\n".join([title, *map(clean, lines)])] if lines else []


def _told(attempts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for attempt in attempts:
        error = attempt.get("error") or {}
        row = {**attempt, "error": ": ".join(filter(None, map(error.get, ("code", "message"))))}
        for key in ("started_at", "ended_at"):
            if isinstance(row.get(key), str):
                row[key] = dt.datetime.fromisoformat(row[key])
        rows.append(row)
    return rows
