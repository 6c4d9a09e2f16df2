"""The ends of an attempt, rescue, retry and retention against each other: one wins."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import (
    claim_this,
    column,
    insert,
    job_in,
    place,
    refused,
    report,
    run_one,
    status,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.races.sessions import Sessions

_COMPLETE = "select pgqueue.complete(%s, %s)"


def test_completing_waits_for_a_progress_report_and_then_succeeds(
    open_session: Open, sessions: Sessions
) -> None:
    """The report leaves a row version that the completion's snapshot does not see."""
    db, reporting = open_session(), open_session.transaction()
    job = run_one(db)
    reporting.execute("select pgqueue.progress(%s, %s, 50, 'half')", job.owned)
    completing = sessions.start(open_session(), _COMPLETE, *job.owned).blocked()
    reporting.commit()

    assert completing.value() == "succeeded"
    assert place(db, job.job_id) == "finished"
    assert value(db, "select progress from pgqueue.finished") == 50


def test_a_batch_waits_for_a_progress_report_and_then_succeeds(
    open_session: Open, sessions: Sessions
) -> None:
    """All of it, the reported job and its batch-mates."""
    db, reporting = open_session(), open_session.transaction()
    jobs = [run_one(db) for _ in range(5)]
    reporting.execute("select pgqueue.progress(%s, %s, 50)", jobs[2].owned)
    batch = sessions.start(
        open_session(),
        "select * from pgqueue.report(%s, %s)",
        [job.job_id for job in jobs],
        [job.token for job in jobs],
    ).blocked()
    reporting.commit()

    assert batch.rows() == []
    assert [place(db, job.job_id) for job in jobs] == ["finished"] * 5


@pytest.mark.parametrize("call", ["fail(%s, %s)", "snooze(%s, %s, '1 h')", "release(%s, %s)"])
def test_every_other_end_of_an_attempt_waits_for_a_progress_report_too(
    open_session: Open, sessions: Sessions, call: str
) -> None:
    """And happens once."""
    db, reporting = open_session(), open_session.transaction()
    job = run_one(db)
    reporting.execute("select pgqueue.progress(%s, %s, 50)", job.owned)
    ending = sessions.start(open_session(), f"select pgqueue.{call}", *job.owned).blocked()
    reporting.commit()

    assert ending.sqlstate() is None
    assert place(db, job.job_id) in {"ready", "scheduled"}


def test_a_progress_report_that_waits_for_a_completion_hears_that_it_is_late(
    open_session: Open, sessions: Sessions
) -> None:
    """PQ001: there is nothing to report on any more."""
    db, completing = open_session(), open_session.transaction()
    job = run_one(db)
    completing.execute(_COMPLETE, job.owned)
    reporting = sessions.start(
        open_session(), "select pgqueue.progress(%s, %s, 50)", *job.owned
    ).blocked()
    completing.commit()

    assert reporting.sqlstate() == "PQ001"
    assert status(db, job.job_id) == "succeeded"


def test_two_completions_of_one_attempt_are_one(open_session: Open, sessions: Sessions) -> None:
    """The reply was lost and the worker asks again while the first is still at it."""
    db, first = open_session(), open_session.transaction()
    job = run_one(db)
    first.execute("select pgqueue.complete(%s, %s, '1')", job.owned)
    second = sessions.start(
        open_session(), "select pgqueue.complete(%s, %s, '2')", *job.owned
    ).blocked()
    first.commit()

    assert second.value() == "succeeded"
    assert column(db, "select result from pgqueue.finished") == [1]
    assert value(db, "select sum(jobs) from pgqueue.stats_log") == 1


@pytest.mark.parametrize("wins", [True, False])
def test_a_cancel_that_waits_for_a_completion_tells_the_truth(
    open_session: Open, sessions: Sessions, *, wins: bool
) -> None:
    """Committed: PQ002, it has succeeded. Rolled back: the running job is asked to stop."""
    db, completing = open_session(), open_session.transaction()
    job = run_one(db)
    completing.execute(_COMPLETE, job.owned)
    cancelling = sessions.start(open_session(), "select pgqueue.cancel(%s)", job.job_id).blocked()
    if wins:
        completing.commit()

        assert cancelling.sqlstate() == "PQ002"
        assert status(db, job.job_id) == "succeeded"
    else:
        completing.rollback()

        assert cancelling.value() == "running"
        assert value(db, "select cancel_requested_at is not null from pgqueue.running")


def test_a_completion_that_waits_for_a_cancel_succeeds(
    open_session: Open, sessions: Sessions
) -> None:
    """The request came too late to matter."""
    db, cancelling = open_session(), open_session.transaction()
    job = run_one(db)
    cancelling.execute("select pgqueue.cancel(%s)", (job.job_id,))
    completing = sessions.start(open_session(), _COMPLETE, *job.owned).blocked()
    cancelling.commit()

    assert completing.value() == "succeeded"
    assert status(db, job.job_id) == "succeeded"


def test_a_cancel_that_waits_for_a_claim_asks_the_worker_to_stop(
    open_session: Open, sessions: Sessions
) -> None:
    """The job moved while it waited: it looks again and finds it running."""
    db, claiming = open_session(), open_session.transaction()
    job_id = insert(db)
    claim_this(claiming, job_id, worker(db))
    cancelling = sessions.start(open_session(), "select pgqueue.cancel(%s)", job_id).blocked()
    claiming.commit()

    assert cancelling.value() == "running"
    assert value(db, "select cancel_requested_at is not null from pgqueue.running")


def test_a_claim_does_not_wait_for_a_cancel(open_session: Open, sessions: Sessions) -> None:
    """It skips the job; the cancel ends it."""
    db, cancelling = open_session(), open_session.transaction()
    job_id = insert(db)
    cancelling.execute("select pgqueue.cancel(%s)", (job_id,))
    claimed = sessions.start(open_session(), "select * from pgqueue.claim(%s)", worker(db)).rows()
    cancelling.commit()

    assert claimed == []
    assert status(db, job_id) == "cancelled"


def test_a_cancel_that_waits_for_a_release_cancels_the_waiting_job(
    open_session: Open, sessions: Sessions
) -> None:
    """From running back to ready while it waited."""
    db, releasing = open_session(), open_session.transaction()
    job = run_one(db)
    releasing.execute("select pgqueue.release(%s, %s)", job.owned)
    cancelling = sessions.start(open_session(), "select pgqueue.cancel(%s)", job.job_id).blocked()
    releasing.commit()

    assert cancelling.value() == "cancelled"
    assert status(db, job.job_id) == "cancelled"


@pytest.mark.parametrize("commits", [True, False])
def test_a_rescue_passes_over_what_is_being_finished(
    open_session: Open, sessions: Sessions, *, commits: bool
) -> None:
    """It never waits; if the completion rolls back, the next rescue takes the job."""
    db, completing = open_session(), open_session.transaction()
    by = worker(db)
    job = claim_this(db, insert(db), by)
    completing.execute(_COMPLETE, job.owned)
    worker_dies(db, by)
    rescued = [value(db, "select pgqueue.rescue()")]
    if commits:
        completing.commit()
    else:
        completing.rollback()
    rescued.append(value(db, "select pgqueue.rescue()"))

    assert rescued == [0, 0 if commits else 1]
    assert status(db, job.job_id) == ("succeeded" if commits else "queued")


def test_a_completion_that_waits_for_a_rescue_is_refused(
    open_session: Open, sessions: Sessions
) -> None:
    """PQ001: the job was given to somebody else in that moment."""
    db, rescuing = open_session(), open_session.transaction()
    by = worker(db)
    job = claim_this(db, insert(db), by)
    worker_dies(db, by)
    rescuing.execute("select pgqueue.rescue()")
    completing = sessions.start(open_session(), _COMPLETE, *job.owned).blocked()
    rescuing.commit()

    assert completing.sqlstate() == "PQ001"
    assert status(db, job.job_id) == "queued"


@pytest.mark.parametrize("first", ["heartbeat", "rescue"])
def test_a_heartbeat_and_a_rescue_agree_on_whether_the_worker_lives(
    open_session: Open, sessions: Sessions, first: str
) -> None:
    """The one that comes second sees what the other did."""
    db, holder = open_session(), open_session.transaction()
    by = worker(db)
    job = claim_this(db, insert(db), by)
    worker_dies(db, by)
    calls = {
        "heartbeat": f"select draining from pgqueue.heartbeat({by})",
        "rescue": "select pgqueue.rescue()",
    }
    second = "rescue" if first == "heartbeat" else "heartbeat"
    holder.execute(calls[first])
    waiting = sessions.start(open_session(), calls[second]).blocked()
    holder.commit()

    if first == "heartbeat":
        assert waiting.value() == 0
        assert status(db, job.job_id) == "running"
    else:
        assert waiting.sqlstate() == "PQ004"
        assert status(db, job.job_id) == "queued"


@pytest.mark.parametrize("first", ["retain", "retry"])
def test_retention_and_a_retry_of_the_same_job_do_not_tear_it(
    open_session: Open, sessions: Sessions, first: str
) -> None:
    """Either it runs again or it is gone."""
    db, holder = open_session(), open_session.transaction()
    job = job_in(db, "failed")
    db.execute("update pgqueue.finished set finished_at = '2001-01-01'")
    if first == "retain":
        holder.execute("select pgqueue.retain()")
        retrying = sessions.start(open_session(), "select pgqueue.retry(%s)", job.job_id).blocked()
        holder.commit()

        assert retrying.sqlstate() in {"PQ002", "PQ003"}
        assert place(db, job.job_id) == "nowhere"
    else:
        holder.execute("select pgqueue.retry(%s)", (job.job_id,))
        removed = value(db, "select pgqueue.retain()")
        holder.commit()

        assert removed == 0
        assert value(db, "select pgqueue.retain()") == 0
        assert status(db, job.job_id) == "queued"


@pytest.mark.parametrize("first", ["delete", "retry"])
def test_a_delete_and_a_retry_of_the_same_job_do_not_tear_it(
    open_session: Open, sessions: Sessions, first: str
) -> None:
    """The second waits for the first and is refused."""
    db, holder = open_session(), open_session.transaction()
    job = job_in(db, "failed")
    delete, retry = "delete from pgqueue.jobs where id = %s", "select pgqueue.retry(%s)"
    holder.execute(delete if first == "delete" else retry, (job.job_id,))
    second = sessions.start(open_session(), retry if first == "delete" else delete, job.job_id)
    second.blocked()
    holder.commit()

    if first == "delete":
        assert second.sqlstate() in {"PQ002", "PQ003"}
        assert place(db, job.job_id) == "nowhere"
    else:
        assert second.sqlstate() == "PQ007"
        assert status(db, job.job_id) == "queued"


def test_two_retries_at_once_are_one(open_session: Open, sessions: Sessions) -> None:
    """The second finds a job that is ready and is refused."""
    db, first = open_session(), open_session.transaction()
    job = job_in(db, "failed")
    first.execute("select pgqueue.retry(%s)", (job.job_id,))
    second = sessions.start(open_session(), "select pgqueue.retry(%s)", job.job_id).blocked()
    first.commit()

    assert second.sqlstate() == "PQ002"
    assert value(db, "select count(*) from pgqueue.ready") == 1


def test_a_job_that_was_given_more_time_does_not_expire(
    open_session: Open, sessions: Sessions
) -> None:
    """The sweep looks while the UPDATE is in flight, does not wait for it, and does not undo it."""
    db, producer = open_session(), open_session.transaction()
    job_id = insert(db, expires_at="2001-01-01")
    producer.execute("update pgqueue.jobs set expires_at = '2100-01-01'")
    sweeping = sessions.start(open_session(), "select pgqueue.expire()")
    sweeping.rows()
    producer.commit()

    assert sweeping.value() == 0
    assert place(db, job_id) == "ready"


def test_batches_in_opposite_orders_do_not_deadlock(open_session: Open, sessions: Sessions) -> None:
    """Two sessions report the same keyed jobs, one forwards, one backwards, 20 times."""
    db, one, two = open_session(), open_session(), open_session()
    for n in range(20):
        jobs = [run_one(db, unique_key=f"{n}.{i}") for i in range(10)]
        answers = sessions.together([partial(report, one, jobs), partial(report, two, jobs[::-1])])

        assert answers == [{}, {}]
    assert value(db, "select count(*) from pgqueue.finished") == 200


def test_a_zombie_and_its_heir_report_at_once(open_session: Open, sessions: Sessions) -> None:
    """Of two tokens one wins, and it is the newer."""
    db = open_session()
    for _ in range(20):
        by = worker(db)
        zombie = claim_this(db, insert(db), by)
        db.execute("update pgqueue.running set deadline_at = '2001-01-01'")
        db.execute("select pgqueue.rescue()")
        heir = claim_this(db, zombie.job_id)
        found = sessions.together(
            [
                partial(report, open_session(), [zombie], [{"result": "zombie"}]),
                partial(report, open_session(), [heir], [{"result": "heir"}]),
            ]
        )

        assert found == [{zombie.job_id: "lease_lost"}, {}]
    assert set(column(db, "select result from pgqueue.finished")) == {"heir"}


def test_a_lease_that_is_lost_inside_a_transaction_rolls_it_back(
    open_session: Open, sessions: Sessions
) -> None:
    """The handler's completion waits for the rescue, loses, and its writes are undone."""
    db, rescuing, handler = open_session(), open_session.transaction(), open_session.transaction()
    db.execute("create table ledger (n int)")
    by = worker(db)
    job = claim_this(db, insert(db), by)
    handler.execute("insert into ledger values (1)")
    worker_dies(db, by)
    rescuing.execute("select pgqueue.rescue()")
    completing = sessions.start(handler, _COMPLETE, *job.owned).blocked()
    rescuing.commit()
    lost = completing.sqlstate()
    handler.rollback()

    assert lost == "PQ001"
    assert value(db, "select count(*) from ledger") == 0
    with refused("PQ001"):
        db.execute(_COMPLETE, job.owned)
