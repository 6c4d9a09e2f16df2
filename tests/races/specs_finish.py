"""Specs of what ends an attempt or a job: reports, cancel, rescue, release, retention, redrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.races.stepper import END, Run, Spec
from tests.support.sqljobs import claim_this, column, insert, job_in, status, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_COMPLETE = "select pgqueue.complete(:job, :token)"


def _running(db: Db) -> dict[str, Any]:
    by = worker(db)
    job = claim_this(db, insert(db), by)
    return {"job": job.job_id, "token": job.token, "by": by, "heir": worker(db)}


def _of_a_dead_worker(db: Db) -> dict[str, Any]:
    found = _running(db)
    db.execute(
        "update pgqueue.workers set heartbeat_at = '2001-01-01' where id = %s", (found["by"],)
    )
    return found


def _failed(db: Db) -> dict[str, Any]:
    db.execute("select pgqueue.set_settings(p_retention => '0 s')")
    return {"job": job_in(db, "failed").job_id}


def _complete_rescue(run: Run) -> None:
    by_zombie = run.committed("zombie")
    heir = run.answer("heir").rows
    by_heir = run.answer("heir", 1).value == "succeeded"
    tokens = column(run.db, "select token from pgqueue.finished")
    lost = column(run.db, "select token from pgqueue.attempts where outcome = 'lost'")
    rescued = run.committed("maintainer") and run.answer("maintainer").value == "1"
    assert not (by_zombie and heir), "completed by the zombie, and claimed by its heir"
    assert not (by_zombie and rescued), "completed by the zombie, and taken from it"
    assert by_heir == bool(heir)
    expected = [run.values["token"]] if by_zombie else [int(str(heir[0]["token"]))] if heir else []
    assert tokens == expected
    assert lost == ([run.values["token"]] if rescued else [])


def _complete_cancel(run: Run) -> None:
    done, said = run.committed("worker"), run.answer("operator")
    asked = run.committed("operator") and said.value == "running"
    assert status(run.db, run.values["job"]) == ("succeeded" if done else "running")
    if said.sqlstate == "PQ002":
        assert done, "refused to cancel a job that has not finished"
    if not done:
        marks = column(run.db, "select cancel_requested_at is not null from pgqueue.running")
        assert marks == [asked]


def _progress_complete(run: Run) -> None:
    done, told = run.committed("worker"), run.committed("handler")
    table = "finished" if done else "running"
    assert column(run.db, f"select progress from pgqueue.{table}") == [20.0 if told else None]


def _release_rescue(run: Run) -> None:
    outcomes = column(run.db, "select outcome from pgqueue.attempts")
    used = column(run.db, "select attempts from pgqueue.ready")
    told = {
        "released": run.committed("worker")
        or (run.committed("stopper") and run.answer("stopper").value == "1"),
        "lost": run.committed("maintainer") and run.answer("maintainer").value == "1",
    }
    expected = [outcome for outcome, happened in told.items() if happened]
    assert len(expected) <= 1, "given back twice"
    assert outcomes == expected
    assert used == [0 if outcome == "released" else 1 for outcome in outcomes]


def _fail_cancel(run: Run) -> None:
    said = run.answer("operator").value if run.committed("operator") else None
    failed = run.answer("worker").value if run.committed("worker") else None
    expected: str
    reply: str | None
    match said, failed:
        case "cancelled", _:
            expected, reply = "cancelled", "retrying"
        case "running", None:
            expected, reply = "running", None
        case "running", _:
            expected, reply = "cancelled", "cancelled"
        case _, None:
            expected, reply = "running", None
        case _:
            expected, reply = "retrying", "retrying"
    assert status(run.db, run.values["job"]) == expected
    assert failed == reply
    assert run.answer("operator").sqlstate is None


def _retention_redrive(run: Run) -> None:
    removed = run.committed("maintainer") and run.answer("maintainer").value == "1"
    redriven = run.committed("operator") and run.answer("operator").value == "1"
    retried = run.committed("other")
    assert removed + redriven + retried <= 1, "removed and brought back, or brought back twice"
    kept = value(run.db, "select count(*) from pgqueue.jobs")
    assert kept == (0 if removed else 1)
    if kept:
        expected = "queued" if redriven or retried else "failed"
        assert status(run.db, run.values["job"]) == expected


SPECS = [
    Spec(
        name="complete / rescue / heir",
        setup=_of_a_dead_worker,
        sessions={
            "zombie": [f"begin; {_COMPLETE}", END],
            "maintainer": ["begin; select pgqueue.rescue()", END],
            "heir": [
                "select job_id, token from pgqueue.claim(:heir, '{default}', 1)",
                "select pgqueue.complete(:heir_job_id, :heir_token)",
            ],
        },
        check=_complete_rescue,
        allowed=frozenset({"PQ001"}),
        at_least=300,
    ),
    Spec(
        name="complete / cancel",
        setup=_running,
        sessions={
            "worker": [f"begin; {_COMPLETE}", END],
            "operator": ["begin; select pgqueue.cancel(:job)", END],
        },
        check=_complete_cancel,
        allowed=frozenset({"PQ002"}),
        at_least=16,
    ),
    Spec(
        name="progress / complete",
        setup=_running,
        sessions={
            "worker": [f"begin; {_COMPLETE}", END],
            "handler": [
                "begin; select pgqueue.progress(:job, :token, 10)",
                "select pgqueue.progress(:job, :token, 20)",
                END,
            ],
        },
        check=_progress_complete,
        allowed=frozenset({"PQ001"}),
        at_least=20,
    ),
    Spec(
        name="release / rescue / stop",
        setup=_of_a_dead_worker,
        sessions={
            "worker": ["begin; select pgqueue.release(:job, :token)", END],
            "maintainer": ["begin; select pgqueue.rescue()", END],
            "stopper": ["begin; select pgqueue.stop_worker(:by)", END],
        },
        check=_release_rescue,
        allowed=frozenset({"PQ001"}),
        at_least=200,
    ),
    Spec(
        name="fail / cancel",
        setup=_running,
        sessions={
            "worker": ["begin; select pgqueue.fail(:job, :token, p_retry_after => '1 h')", END],
            "operator": ["begin; select pgqueue.cancel(:job)", END],
        },
        check=_fail_cancel,
        at_least=16,
    ),
    Spec(
        name="retention / redrive / retry",
        setup=_failed,
        sessions={
            "maintainer": ["begin; select pgqueue.retain()", END],
            "operator": ["begin; select pgqueue.redrive()", END],
            "other": ["begin; select pgqueue.retry(:job)", END],
        },
        check=_retention_redrive,
        allowed=frozenset({"PQ002", "PQ003"}),
        at_least=300,
    ),
]
