"""
Applications at work: installed, run by real worker processes, killed in the middle.

What every application proves: a job runs twice and the second run changes nothing; a worker killed
with -9 in the middle loses and doubles nothing; bad input ends in an error that names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from tests.support.wait import eventually
from tests.support.workers import worker_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import psycopg

    Db = psycopg.Connection[Any]

_FINISHED = frozenset({"succeeded", "partial", "failed", "cancelled"})
# Short enough that the heir of a killed worker takes its job soon, long enough for a busy machine.
_LEASE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended."""

    status: str
    attempt: int
    result: Any
    metrics: dict[str, Any]
    errors: list[dict[str, Any]]

    @property
    def counted(self) -> tuple[int, int, int]:
        """Created, updated, skipped."""
        names = ("items_created", "items_updated", "items_skipped")
        created, updated, skipped = (self.metrics.get(name, 0) for name in names)
        return created, updated, skipped

    @property
    def codes(self) -> list[str]:
        """The codes of its errors."""
        return [error["code"] for error in self.errors]


def look(db: Db, job_id: Any) -> Ended:
    """How a job fares."""
    with db.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "select status, attempt, result, metrics, errors from pgqueue.job_status where id = %s",
            [job_id],
        ).fetchone()
    assert row is not None
    return Ended(
        row["status"], row["attempt"], row["result"], row["metrics"] or {}, row["errors"] or []
    )


def finishes(db: Db, job_id: Any, *, seconds: float = 40.0) -> Ended:
    """Wait until a job has finished; how."""
    eventually(
        lambda: look(db, job_id).status in _FINISHED, seconds=seconds, what=f"{job_id} finishes"
    )
    return look(db, job_id)


def run_in_worker(
    dsn: str,
    db: Db,
    tmp: Path,
    app: str,
    *job_ids: Any,
    environment: Mapping[str, str] | None = None,
) -> list[Ended]:
    """
    Run jobs in a real worker process of the application.

    Args:
        dsn: Its database.
        db: A connection to it.
        tmp: Where the worker's log goes.
        app: The application's package.
        job_ids: What to wait for.
        environment: More variables.
    """
    with worker_process(dsn, tmp, app=app, environment=environment, poll_seconds=0.2):
        return [finishes(db, job_id) for job_id in job_ids]


def survive_kill(
    dsn: str,
    db: Db,
    tmp: Path,
    app: str,
    job_id: Any,
    *,
    middle: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
    environment: Mapping[str, str] | None = None,
    pause: str | None = None,
    **more: Any,
) -> Ended:
    """
    Kill the worker with -9 when it is in the middle of a job; another one finishes it.

    Args:
        dsn: The database.
        db: A connection to it.
        tmp: Where the workers' logs go.
        app: The application's package.
        job_id: The job.
        middle: Returns when the worker is in the middle.
        after: Called when it is dead: what it saw and what it left.
        environment: More variables, for both workers.
        pause: Also wait until the worker stands at this place of pgqueue/_pause.py.
        more: As WorkerSettings takes them.
    """
    timing = {"lease_seconds": _LEASE_SECONDS, "poll_seconds": 0.2}
    options: dict[str, Any] = {"app": app, **timing, **more}
    known = dict(environment or {})
    doomed = known if pause is None else {**known, "PGQUEUE_TEST_PAUSE": pause}
    with worker_process(dsn, tmp, name="killed", environment=doomed, **options) as killed:
        middle()
        if pause is not None:
            killed.says(f"paused {pause}")
        killed.process.kill()
        killed.ends()
    after()
    with worker_process(dsn, tmp, name="heir", environment=known, **options):
        return finishes(db, job_id)
