"""Kill -9 of a worker at its most delicate places: nothing is lost, nothing happens twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.wait import eventually
from tests.support.workers import attempts, enqueue, reaches, worker_process

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    Database = psycopg.Connection[Any]

DOOR = 7067001


@dataclass(frozen=True)
class Case:
    """
    One place of pgqueue/_pause.py.

    Attributes:
        place: Its name.
        job_type: What runs there.
        early: The job is there before the worker, else it comes while the worker stands there.
        at_rest: The job ends when the worker sleeps at the door.
        earlier: How the attempts before the last one ended.
        by: Who finishes the job.
    """

    place: str
    job_type: str
    early: bool = True
    at_rest: bool = False
    earlier: tuple[str, ...] = ("lost",)
    by: str = "second"


CASES = [
    Case("after_claim", "write_in_task"),
    Case("before_commit", "write_in_task"),
    Case("before_commit", "write_in_thread"),
    Case("before_report", "task_gate", at_rest=True),
    Case("after_report", "task_gate", earlier=(), by="first"),
    Case("before_last_claim", "write_in_task", early=False, earlier=()),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.place}-{case.job_type}")
def test_a_worker_killed_anywhere_leaves_its_job_to_be_finished_once(
    dsn: str, db: Database, tmp_path: Path, case: Case
) -> None:
    """By another worker or already; what its handler wrote in its transaction is there once."""
    db.execute("create table public.written (job_id uuid)")
    gate = tmp_path / "gate"
    payload = {"gate": str(gate)} if case.job_type == "task_gate" else {}
    if not case.at_rest:
        gate.touch()
    job_id = enqueue(db, case.job_type, **payload) if case.early else None
    pause = {"PGQUEUE_TEST_PAUSE": case.place}
    with worker_process(dsn, tmp_path, environment=pause, name="first", lease_seconds=1.0) as first:
        if case.at_rest:
            asleep(db)
            gate.touch()
        first.says(f"paused {case.place}")
        job_id = job_id or enqueue(db, case.job_type, **payload)
        first.process.kill()
        with worker_process(dsn, tmp_path, name="second", lease_seconds=1.0, poll_seconds=0.2):
            reaches(db, job_id, "succeeded")

    (by,) = db.execute(
        "select w.name from pgqueue.finished f join pgqueue.workers w on w.id = f.worker_id"
        " where f.job_id = %s",
        (job_id,),
    ).fetchall()
    written = db.execute("select job_id from public.written").fetchall()
    assert (by[0], attempts(db, job_id)) == (case.by, list(case.earlier))
    assert written == ([(job_id,)] if case.job_type.startswith("write") else [])


def asleep(db: Database) -> None:
    """Wait until the worker sleeps: it has the door, and a heartbeat later made its last claim."""
    door = (
        "select from pg_locks where locktype = 'advisory' and granted and classid = %s"
        " and database = (select oid from pg_database where datname = current_database())"
    )
    eventually(lambda: db.execute(door, (DOOR,)).fetchall(), what="the door is taken")
    beat = "select max(heartbeat_at) from pgqueue.workers"
    before = db.execute(beat).fetchall()
    eventually(lambda: db.execute(beat).fetchall() != before, what="a heartbeat")
