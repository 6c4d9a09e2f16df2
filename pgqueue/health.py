"""Is the queue well? One finding per check, for probes, for people and for `pgqueue doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgqueue.calls import Call, drive, drive_async, run, run_async

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    import psycopg

    from pgqueue.calls import Script
    from pgqueue.calls.core import Row

__all__ = ["Finding", "Status", "health", "health_async", "lines", "well"]

Status: TypeAlias = Literal["ok", "info", "warn", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What one check found.

    Attributes:
        check: What was checked.
        status: ok; info (worth knowing); warn; fail (the promise or the speed is broken now); or
            unknown (this role may not see it).
        value: What was found.
        hint: What to do about it.
    """

    check: str
    status: Status
    value: str
    hint: str | None = None


def health(
    conn: psycopg.Connection[Any],
    *,
    oldest_ready_seconds: float | None = None,
    worker: str | None = None,
) -> list[Finding]:
    """
    Ask the view pgqueue.health, or only what a probe wants to know.

    Args:
        conn: Of a role that may see the views: pgqueue_viewer, pgqueue_operator.
        oldest_ready_seconds: Fail if a job of a queue that is not paused has been ready for
            longer.
        worker: Fail unless a worker of this name lives.

    Raises:
        PgqueueError: The database cannot be asked.
    """
    script = _probes(oldest_ready_seconds, worker)
    return drive(lambda call: run(conn, call), script)


async def health_async(
    conn: psycopg.AsyncConnection[Any],
    *,
    oldest_ready_seconds: float | None = None,
    worker: str | None = None,
) -> list[Finding]:
    """As `health`, for asyncio."""
    script = _probes(oldest_ready_seconds, worker)
    return await drive_async(lambda call: run_async(conn, call), script)


def well(findings: Iterable[Finding]) -> bool:
    """Whether none of *findings* is a failure."""
    return all(finding.status != "fail" for finding in findings)


def lines(findings: Iterable[Finding]) -> list[str]:
    """One line each: `ok    workers alive: 4`, with the hint below what is not well."""
    found = []
    for finding in findings:
        found.append(f"{finding.status:<7} {finding.check}: {finding.value}")
        if finding.hint and finding.status != "ok":
            found.append(f"{'':<8}{finding.hint}")
    return found


def findings_of_view() -> Call[list[Finding]]:
    """Every row of pgqueue.health."""
    return Call("select * from pgqueue.health", (), _decode, by_name=True, repeatable=True)


def _probes(oldest_ready_seconds: float | None, worker: str | None) -> Script[list[Finding]]:
    if oldest_ready_seconds is None and worker is None:
        everything: list[Finding] = yield findings_of_view()
        return everything
    found = []
    if oldest_ready_seconds is not None:
        found.append((yield _oldest_ready(oldest_ready_seconds)))
    if worker is not None:
        found.append((yield _worker_alive(worker)))
    return found


def _oldest_ready(seconds_max: float) -> Call[Finding]:
    def decode(rows: list[Row]) -> Finding:
        if not rows:
            return Finding("oldest ready job", "ok", "none")
        oldest = max(rows, key=lambda row: row["oldest_ready_seconds"])
        late = oldest["oldest_ready_seconds"] > seconds_max
        return Finding(
            "oldest ready job",
            "fail" if late else "ok",
            f"{oldest['oldest_ready_seconds']:g} s in queue {oldest['queue']}",
            f"More than {seconds_max:g} s. select pgqueue.why_waiting(id)" if late else None,
        )

    return Call(
        "select queue, oldest_ready_seconds::float8 from pgqueue.queue_stats"
        " where not paused and oldest_ready_seconds is not null",
        (),
        decode,
        by_name=True,
        repeatable=True,
    )


def _worker_alive(name: str) -> Call[Finding]:
    def decode(rows: list[Row]) -> Finding:
        living = [row for row in rows if row["status"] in {"alive", "draining"}]
        if living:
            best = min(living, key=lambda row: row["heartbeat_seconds"])
            value = f"{best['status']}, last heard of {best['heartbeat_seconds']:.1f} s ago"
            return Finding(f"worker {name}", "ok", value)
        value = rows[-1]["status"] if rows else "not registered"
        return Finding(f"worker {name}", "fail", value, "Start it, or look at its log.")

    return Call(
        "select status, heartbeat_seconds::float8 from pgqueue.worker_status where name = %s"
        " order by id",
        (name,),
        decode,
        by_name=True,
        repeatable=True,
    )


def _decode(rows: list[Row]) -> list[Finding]:
    return [Finding(row["check"], row["status"], row["value"], row["hint"]) for row in rows]
