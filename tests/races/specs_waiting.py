"""Specs of jobs that wait for a limit, an order, a hook or a signal while somebody changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.races.stepper import END, Run, Spec
from tests.support.sqljobs import claim, claim_this, column, insert, report, row, status, value
from tests.support.sqljobs import worker as a_worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_CLAIM = "select job_id, token from pgqueue.claim(:by, '{default}', 2)"
_COMPLETE = "select pgqueue.complete(:running, :token)"
_LEFT = """select id from pgqueue.jobs j
    where not exists (select from pgqueue.finished f where f.job_id = j.id)"""


def _one_runs(db: Db) -> dict[str, Any]:
    """One runs, two wait, one may run at a time."""
    db.execute("select pgqueue.set_limit('job_type', 't', 1)")
    by = a_worker(db)
    insert(db)
    (running,) = claim(db, by)
    values = {"by": by, "running": running.job_id, "token": running.token}
    return {**values, "next": insert(db), "last": insert(db)}


def _next_expires(db: Db) -> dict[str, Any]:
    """The two are parked, and the first of them has expired."""
    values = _one_runs(db)
    claim(db, values["by"])
    for table, name in (("jobs", "id"), ("blocked", "job_id")):
        db.execute(
            f"update pgqueue.{table} set expires_at = now() - interval '1 hour' where {name} = %s",
            (values["next"],),
        )
    claim(db, values["by"])
    return values


def _other_queue(db: Db) -> dict[str, Any]:
    """The next one is parked, in a queue of its own."""
    db.execute("select pgqueue.set_limit('job_type', 't', 1)")
    by = a_worker(db, ["default", "other"])
    insert(db)
    (running,) = claim(db, by)
    values = {"by": by, "running": running.job_id, "token": running.token}
    values |= {"next": insert(db, queue="other"), "last": insert(db)}
    claim(db, by, queues=["default", "other"])
    return values


def _starving(db: Db) -> dict[str, Any]:
    """One has waited so long that its priority is about to rise."""
    db.execute("select pgqueue.set_settings(p_aging => '1 hour')")
    job = insert(db, priority=2)
    db.execute("update pgqueue.ready set ready_at = ready_at - interval '90 minutes'")
    return {"next": job, "by": a_worker(db)}


def _one_per_hour(db: Db) -> dict[str, Any]:
    """Two wait, one may start in an hour."""
    db.execute("select pgqueue.set_limit('job_type', 't', null, 1, '1 hour')")
    return {"by": a_worker(db), "next": insert(db), "last": insert(db)}


def _failed_first(db: Db) -> dict[str, Any]:
    """The first of a key has failed and blocks the second."""
    by = a_worker(db)
    first = insert(db, ordering_key="k", ordering_on_failure="block")
    (job,) = claim(db, by)
    db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    last = insert(db, ordering_key="k")
    claim(db, by)
    return {"by": by, "first": first, "last": last}


def _held(db: Db) -> dict[str, Any]:
    """A hook holds one back."""
    job = insert(db)
    db.execute("select pgqueue.hold_back(array[%(id)s], array[%(id)s])", {"id": job})
    return {"by": a_worker(db), "job": job}


def _waits_for_a_signal(db: Db) -> dict[str, Any]:
    job = claim_this(db, insert(db))
    db.execute("select pgqueue.pause_until(%s, %s, 'a', '1 hour')", job.owned)
    db.execute("update pgqueue.blocked set look_at = now(), timeout_at = now()")
    return {"by": a_worker(db), "job": job.job_id}


def _one_of_a_batch_failed(db: Db) -> dict[str, Any]:
    """A closed batch: one has failed, the last one runs."""
    batch = value(db, """select pgqueue.open_batch(p_on_success => '{"job_type": "over"}')""")
    failed, last = (claim_this(db, insert(db, batch_id=batch)) for _ in range(2))
    db.execute("select pgqueue.fail(%s, %s, null, false)", failed.owned)
    db.execute("select pgqueue.close_batch(%s)", (batch,))
    return {
        "by": a_worker(db),
        "failed": failed.job_id,
        "running": last.job_id,
        "token": last.token,
    }


def _all_run(run: Run) -> None:
    """Whatever runs is finished, and then everything else gets its turn."""
    owned = "select job_id, token from pgqueue.running"
    for job_id, token in run.db.execute(owned).fetchall():
        run.db.execute("select pgqueue.complete(%s, %s)", (job_id, token))
    for _ in range(4):
        run.db.execute("select pgqueue.maintain()")
        # 1 s later
        run.db.execute("update pgqueue.openings set opens_at = now() where gate like '-%'")
        while jobs := claim(run.db, run.values["by"], 5, queues=["default", "other"]):
            report(run.db, jobs)
    assert column(run.db, _LEFT) == [], "somebody still waits"


def _changed(run: Run) -> None:
    """A job that waits can be changed wherever it is moved to in the meantime."""
    payload = value(run.db, "select payload from pgqueue.jobs where id = %s", run.values["next"])
    assert payload == ({"v": 2} if run.committed("operator") else {})
    _all_run(run)


def _one_goes(run: Run) -> None:
    """The one that was taken away has ended; all the others run."""
    _all_run(run)
    gone = run.committed("operator") and run.answer("operator").value == "1"
    found = status(run.db, run.values["next"])
    assert found == ("cancelled" if gone else "succeeded")


def _skipped_or_retried(run: Run) -> None:
    """Whichever comes first, an unfinished job has its place, and neither is lost."""
    # Before they have run: afterwards nobody sees it any more.
    found = column(run.db, "select problem from pgqueue.verify()")
    assert found == [], found
    if not run.committed("retrier") and not run.committed("operator"):
        run.db.execute("select pgqueue.retry(%s)", (run.values["first"],))
    _all_run(run)
    assert status(run.db, run.values["last"]) == "succeeded"


def _held_ends_once(run: Run) -> None:
    """Cancelled or let go; a child that was inserted meanwhile follows it."""
    cancelled = run.committed("operator") and run.answer("operator").value == "cancelled"
    # Once more: it leaves what somebody is changing.
    run.db.execute("select pgqueue.unhold(array[%s])", (run.values["job"],))
    _all_run(run)
    child = column(run.db, "select id from pgqueue.jobs where depends_on is not null")
    expected = "cancelled" if cancelled else "succeeded"
    assert status(run.db, run.values["job"]) == expected
    assert [status(run.db, one) for one in child] == (
        ["failed" if cancelled else "succeeded"] if run.committed("producer") else []
    )


def _signalled_or_retried(run: Run) -> None:
    """It runs again once somebody let it, and fails only if nobody did before its time was over."""
    let_go = run.committed("sender") or run.committed("retrier")
    run.db.execute("select pgqueue.maintain()")
    assert status(run.db, run.values["job"]) == ("queued" if let_go else "failed")


def _batch_is_counted(run: Run) -> None:
    """The batch has succeeded when both have, and then only."""
    run.db.execute("select pgqueue.merge_batches()")
    done, retried = run.committed("worker"), run.committed("operator")
    found = row(run.db, "select succeeded, failed, status from pgqueue.batch_status")
    over = done and not retried
    assert found == (int(done), int(not retried), "failed" if over else "closed")
    _all_run(run)
    run.db.execute("select pgqueue.merge_batches()")
    assert len(column(run.db, "select id from pgqueue.jobs where job_type = 'over'")) == retried


SPECS = [
    Spec(
        name="park / update",
        setup=_one_runs,
        sessions={
            "worker": [f"begin; {_CLAIM}", END],
            "operator": [
                """begin; update pgqueue.jobs set payload = '{"v": 2}' where id = :next""",
                END,
            ],
        },
        check=_changed,
        at_least=16,
    ),
    Spec(
        name="age / update",
        setup=_starving,
        sessions={
            "maintainer": ["begin; select pgqueue.age_waiting()", END],
            "operator": [
                """begin; update pgqueue.jobs set payload = '{"v": 2}' where id = :next""",
                END,
            ],
        },
        check=_changed,
        at_least=16,
    ),
    Spec(
        name="insert of a child / update of its parent",
        setup=_starving,
        sessions={
            "producer": [
                "begin; insert into pgqueue.jobs (job_type, depends_on) values ('t', array[:next])",
                END,
            ],
            "operator": [
                """begin; update pgqueue.jobs set payload = '{"v": 2}' where id = :next""",
                END,
            ],
        },
        check=_changed,
        at_least=16,
    ),
    Spec(
        name="finish / let out / expire",
        setup=_next_expires,
        sessions={
            "finisher": [f"begin; {_COMPLETE}", END],
            "maintainer": ["begin; select moved from pgqueue.promote()", "commit"],
            "operator": ["select pgqueue.expire()"],
        },
        check=_all_run,
        at_least=30,
    ),
    Spec(
        name="finish / let out / purge",
        setup=_other_queue,
        sessions={
            "finisher": [f"begin; {_COMPLETE}", "commit"],
            "maintainer": ["begin; select moved from pgqueue.promote()", "commit"],
            "operator": ["begin; select pgqueue.purge_queue('other')", END],
        },
        check=_one_goes,
        at_least=90,
    ),
    Spec(
        name="claim at a rate / drop the limit / tend",
        setup=_one_per_hour,
        sessions={
            "worker": [f"begin; {_CLAIM}", END],
            "operator": ["begin; select pgqueue.drop_limit('job_type', 't')", "commit"],
            "maintainer": ["begin; select pgqueue.tend_limits()", "commit"],
        },
        check=_all_run,
        at_least=90,
    ),
    Spec(
        name="skip / retry / claim of one key",
        setup=_failed_first,
        sessions={
            "operator": ["begin; select pgqueue.skip_ordered(:first)", END],
            "retrier": ["begin; select pgqueue.retry(:first)", END],
            "worker": [_CLAIM],
        },
        check=_skipped_or_retried,
        at_least=60,
    ),
    Spec(
        name="unhold / cancel / insert of a child",
        setup=_held,
        sessions={
            "hook": ["begin; select pgqueue.unhold(array[:job]::uuid[])", END],
            "operator": ["begin; select pgqueue.cancel(:job)", END],
            "producer": [
                "begin; insert into pgqueue.jobs (job_type, depends_on) values ('t', array[:job])",
                END,
            ],
        },
        check=_held_ends_once,
        at_least=300,
    ),
    Spec(
        name="signal / retry / timeout",
        setup=_waits_for_a_signal,
        sessions={
            "sender": ["begin; select pgqueue.signal(:job, 'a')", END],
            "retrier": ["begin; select pgqueue.retry(:job)", END],
            "maintainer": ["select * from pgqueue.look_at_signals()"],
        },
        check=_signalled_or_retried,
        allowed=frozenset({"PQ002"}),
        at_least=60,
    ),
    Spec(
        name="finish / retry of a batch",
        setup=_one_of_a_batch_failed,
        sessions={
            "worker": [f"begin; {_COMPLETE}", END],
            "operator": ["begin; select pgqueue.retry(:failed)", END],
            "maintainer": ["select pgqueue.merge_batches()"],
        },
        check=_batch_is_counted,
        at_least=60,
    ),
]
