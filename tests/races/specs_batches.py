"""Specs of batches that close while jobs join and finish, and of jobs that wait for signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.races.stepper import END, Run, Spec
from tests.support.sqljobs import claim_this, column, insert, row, run_one, status, value

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_LOOK = """update pgqueue.blocked set look_at = now() where look_at is not null;
    select * from pgqueue.maintain()"""


def _open_batch(db: Db) -> dict[str, Any]:
    batch = value(db, """select pgqueue.open_batch(p_on_complete => '{"job_type": "over"}')""")
    job = claim_this(db, insert(db, batch_id=batch))
    return {"batch": batch, "job": job.job_id, "token": job.token}


def _join_close_finish(run: Run) -> None:
    run.db.execute("select pgqueue.merge_batches()")
    joined, closed = run.committed("producer"), run.committed("operator")
    done = run.committed("worker")
    over = column(run.db, "select id from pgqueue.jobs where job_type = 'over'")
    counted = row(run.db, "select total, succeeded, status from pgqueue.batch_status")
    ended = closed and done and not joined
    assert len(over) == ended
    status_ = "succeeded" if ended else "closed" if closed else "open"
    assert counted == (1 + joined, int(done), status_)


def _running(db: Db) -> dict[str, Any]:
    job = run_one(db)
    return {"job": job.job_id, "token": job.token}


def _paused(db: Db) -> dict[str, Any]:
    job = run_one(db)
    db.execute("select pgqueue.pause_until(%s, %s, 'a', '1 hour')", job.owned)
    db.execute("update pgqueue.blocked set look_at = now(), timeout_at = now()")
    return {"job": job.job_id}


def _pause_signal(run: Run) -> None:
    run.db.execute(_LOOK)
    paused, told = run.committed("worker"), run.committed("sender")
    expected = "running" if not paused else "queued" if told else "blocked"
    assert status(run.db, run.values["job"]) == expected


def _signal_timeout_cancel(run: Run) -> None:
    run.db.execute("select * from pgqueue.maintain()")
    told = run.committed("sender") and run.answer("sender").value == "t"
    cancelled = run.committed("operator") and run.answer("operator").value == "cancelled"
    found = status(run.db, run.values["job"])
    if cancelled:
        assert found == "cancelled"
    else:
        assert found == ("queued" if told else "failed")


SPECS = [
    Spec(
        name="join / close / finish",
        setup=_open_batch,
        sessions={
            "producer": [
                "begin; insert into pgqueue.jobs (job_type, batch_id) values ('t', :batch)",
                END,
            ],
            "operator": ["begin; select pgqueue.close_batch(:batch)", END],
            "worker": ["select pgqueue.complete(:job, :token)"],
        },
        check=_join_close_finish,
        allowed=frozenset({"23514"}),
        at_least=60,
    ),
    Spec(
        name="pause / signal",
        setup=_running,
        sessions={
            "worker": ["begin; select pgqueue.pause_until(:job, :token, 'a')", END],
            "sender": ["begin; select pgqueue.signal(:job, 'a')", END],
        },
        check=_pause_signal,
        at_least=16,
    ),
    Spec(
        name="signal / timeout / cancel",
        setup=_paused,
        sessions={
            "sender": ["begin; select pgqueue.signal(:job, 'a')", END],
            "maintainer": ["select * from pgqueue.look_at_signals()"],
            "operator": ["begin; select pgqueue.cancel(:job)", END],
        },
        check=_signal_timeout_cancel,
        allowed=frozenset({"PQ002"}),
        at_least=60,
    ),
]
