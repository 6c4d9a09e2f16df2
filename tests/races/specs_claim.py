"""Specs of what races with a claim: other claims, cancel, promotion, pauses, rescue, shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.races.stepper import END, Run, Spec
from tests.support.sqljobs import column, insert, status, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_CLAIM = "select job_id, token from pgqueue.claim(:by, '{default}', 1)"


def claimed(run: Run, name: str, step: int = 0) -> list[str | None]:
    """The jobs that a committed session got from one claim."""
    return [row["job_id"] for row in run.answer(name, step).rows] if run.committed(name) else []


def _ready(db: Db) -> dict[str, Any]:
    return {"job": insert(db), "by": worker(db)}


def _two_ready(db: Db) -> dict[str, Any]:
    return {"first": insert(db), "second": insert(db), "by": worker(db)}


def _two_ready_beside(db: Db) -> dict[str, Any]:
    """Claims look closer, by another statement, and find that no limit is about these."""
    db.execute("select pgqueue.set_limit('job_type', 'other', 1)")
    return _two_ready(db)


def _due(db: Db) -> dict[str, Any]:
    job = insert(db, run_at="2100-01-01")
    db.execute("update pgqueue.scheduled set due_at = '2001-01-01'")
    return {"job": job, "by": worker(db)}


def _claim_claim(run: Run) -> None:
    got = [claimed(run, name, step) for name in ("a", "b") for step in (0, 1)]
    owned = [job for jobs in got for job in jobs]
    running = column(run.db, "select job_id::text from pgqueue.running")
    assert len(owned) == len(set(owned)), "two claims got the same job"
    assert sorted(map(str, owned)) == sorted(running)
    assert value(run.db, "select count(*) from pgqueue.ready") == 2 - len(owned)


def _claim_cancel(run: Run) -> None:
    got = claimed(run, "worker")
    said = run.answer("operator").value if run.committed("operator") else None
    asked = value(
        run.db, "select count(*) from pgqueue.running where cancel_requested_at is not null"
    )
    expected = "cancelled" if said == "cancelled" else "running" if got else "queued"
    assert run.answer("operator").sqlstate is None
    assert not (got and said == "cancelled"), "claimed, and cancelled as if it waited"
    assert status(run.db, run.values["job"]) == expected
    assert (asked == 1) == (said == "running")


def _promotion_claim(run: Run) -> None:
    got = claimed(run, "worker")
    moved = run.committed("maintainer") and run.answer("maintainer").value == "1"
    postponed = run.committed("producer")
    expected = "running" if got else "scheduled" if postponed or not moved else "queued"
    assert not (got and postponed)
    assert status(run.db, run.values["job"]) == expected


def _pause_claim(run: Run) -> None:
    for step in (0, 1):
        paused = any(
            run.committed(who) and run.before((who, 1), ("worker", step))
            for who in ("operator", "other")
        )
        maybe = any(
            run.committed(who) and not run.before(("worker", step), (who, 1))
            for who in ("operator", "other")
        )
        got = claimed(run, "worker", step)
        assert not (paused and got), "claimed although paused"
        assert got or paused or maybe, "not claimed although nothing is paused"


def _claim_rescue(run: Run) -> None:
    # Whatever was claimed in time, one more rescue must bring the job back: its worker is dead.
    run.db.execute("select pgqueue.rescue()")
    assert status(run.db, run.values["job"]) == "queued"


def _claim_stop(run: Run) -> None:
    stopped, got = run.committed("stopper"), claimed(run, "worker")
    expected = "running" if got and not stopped else "queued"
    assert status(run.db, run.values["job"]) == expected


SPECS = [
    Spec(
        name="claim / claim",
        setup=_two_ready,
        sessions={"a": [f"begin; {_CLAIM}", _CLAIM, END], "b": [f"begin; {_CLAIM}", _CLAIM, END]},
        check=_claim_claim,
        at_least=80,
    ),
    Spec(
        name="claim / claim beside a limit of others",
        setup=_two_ready_beside,
        sessions={"a": [f"begin; {_CLAIM}", _CLAIM, END], "b": [f"begin; {_CLAIM}", _CLAIM, END]},
        check=_claim_claim,
        at_least=80,
    ),
    Spec(
        name="claim / cancel / update",
        setup=_ready,
        sessions={
            "worker": [f"begin; {_CLAIM}", END],
            "operator": ["begin; select pgqueue.cancel(:job)", END],
            "producer": ["begin; update pgqueue.jobs set priority = 0 where id = :job", END],
        },
        check=_claim_cancel,
        allowed=frozenset({"PQ002"}),
        at_least=400,
    ),
    Spec(
        name="promotion / claim / postpone",
        setup=_due,
        sessions={
            "maintainer": ["begin; select moved from pgqueue.promote(10)", END],
            "worker": [f"begin; {_CLAIM}", END],
            "producer": [
                "begin; update pgqueue.jobs set run_at = '2200-01-01' where id = :job",
                END,
            ],
        },
        check=_promotion_claim,
        allowed=frozenset({"PQ002"}),
        at_least=500,
    ),
    Spec(
        name="pause / claim",
        setup=_two_ready,
        sessions={
            "operator": ["begin; select pgqueue.pause_queue('default')", END],
            "other": ["begin; select pgqueue.pause_job_type('t')", END],
            "worker": [_CLAIM, _CLAIM],
        },
        check=_pause_claim,
        at_least=360,
    ),
    Spec(
        name="claim / lease ends / rescue",
        setup=_ready,
        sessions={
            "worker": [f"begin; {_CLAIM}", END],
            "clock": ["update pgqueue.workers set heartbeat_at = '2001-01-01'"],
            "maintainer": ["begin; select pgqueue.rescue()", END],
        },
        check=_claim_rescue,
        allowed=frozenset({"PQ004"}),
        at_least=100,
    ),
    Spec(
        name="claim / stop worker",
        setup=_ready,
        sessions={
            "worker": [f"begin; {_CLAIM}", END],
            "stopper": ["begin; select pgqueue.stop_worker(:by)", END],
        },
        check=_claim_stop,
        allowed=frozenset({"PQ004"}),
        at_least=16,
    ),
]
