"""The last jobs of a batch against each other, its closing, and jobs that join it."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    report,
    row,
    sqlstate_of,
    value,
    worker,
    worker_dies,
)
from tests.support.wait import eventually

if TYPE_CHECKING:
    from uuid import UUID

    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Claimed, Db

_OPEN = """select pgqueue.open_batch(p_on_success => '{"job_type": "yes"}',
    p_on_failure => '{"job_type": "no"}', p_on_complete => '{"job_type": "over"}')"""
_COMPLETE = "select pgqueue.complete(%s, %s)"
_FAIL = "select pgqueue.fail(%s, %s, null, false)"


def _batch(db: Db, jobs: int, *, close: bool = True) -> tuple[UUID, list[Claimed]]:
    """A batch whose jobs all run."""
    batch: UUID = value(db, _OPEN)
    found = [claim_this(db, insert(db, batch_id=batch)) for _ in range(jobs)]
    if close:
        db.execute("select pgqueue.close_batch(%s)", (batch,))
    return batch, found


def _called(db: Db) -> list[str]:
    return sorted(
        column(db, "select job_type from pgqueue.jobs where job_type in ('yes', 'no', 'over')")
    )


def _settled(db: Db) -> list[str]:
    """The callbacks after a look by maintenance, which may be the one that sees the end."""
    db.execute("select pgqueue.merge_batches()")
    return _called(db)


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ((_COMPLETE, _COMPLETE), ["over", "yes"]),
        ((_COMPLETE, _FAIL), ["no", "over"]),
        ((_FAIL, _FAIL), ["no", "over"]),
    ],
)
def test_two_last_jobs_that_finish_at_once_end_the_batch_once(
    open_session: Open, sessions: Sessions, calls: tuple[str, str], expected: list[str]
) -> None:
    """The later one waits for the earlier one's commit, sees both and calls back by itself."""
    one, two = open_session(), open_session()
    _, (first, second) = _batch(one, 2)
    one.execute("begin")
    one.execute(calls[0], first.owned)
    later = sessions.start(two, calls[1], *second.owned).blocked()
    one.execute("commit")
    later.rows()

    assert _called(one) == expected


def test_a_finish_waits_for_another_only_so_long(open_session: Open) -> None:
    """An open transaction holds up nobody; what neither saw, maintenance sees, once."""
    one, two = open_session(), open_session()
    _, (first, second) = _batch(one, 2)
    one.execute("begin")
    one.execute(_COMPLETE, first.owned)
    seconds = row(
        two,
        "select clock_timestamp() - statement_timestamp() < '5 s' from pgqueue.complete(%s, %s)",
        *second.owned,
    )
    before = _called(two)
    one.execute("commit")

    assert (seconds, before) == ((True,), [])
    assert [_settled(two), _settled(two)] == [["over", "yes"]] * 2


@pytest.mark.parametrize("call", ["pgqueue.expire()", "pgqueue.purge_queue('default')"])
def test_who_finishes_many_jobs_waits_for_a_held_batch_once(open_session: Open, call: str) -> None:
    """Not 100 ms for each of a hundred: that would be ten seconds, with all their locks held."""
    one, two = open_session(), open_session()
    batch: UUID = value(one, _OPEN)
    one.execute(
        "insert into pgqueue.jobs (job_type, batch_id, expires_at)"
        " select 't', %s, clock_timestamp() - interval '1 minute' from generate_series(1, 100)",
        (batch,),
    )
    one.execute("select pgqueue.close_batch(%s)", (batch,))
    two.execute("begin")
    two.execute("select pgqueue.close_batch(%s)", (batch,))
    done = row(one, f"select n, clock_timestamp() - statement_timestamp() < '5 s' from {call} n")
    two.execute("commit")

    assert done == (100, True)
    assert _settled(one) == ["no", "over"]


def test_a_rolled_back_finish_was_none(open_session: Open, sessions: Sessions) -> None:
    """The other one must not have counted it."""
    one, two = open_session(), open_session()
    _, (first, second) = _batch(one, 2)
    one.execute("begin")
    one.execute(_COMPLETE, first.owned)
    later = sessions.start(two, _COMPLETE, *second.owned).blocked()
    one.execute("rollback")
    later.rows()
    before = _settled(one)
    one.execute(_COMPLETE, first.owned)

    assert (before, _called(one)) == ([], ["over", "yes"])


def test_a_retry_beside_a_completion_does_not_count_the_job_twice(
    open_session: Open, sessions: Sessions
) -> None:
    """The job still ran when the retry looked at it: there is nothing to retry."""
    one, two, holder = open_session(), open_session(), open_session.transaction()
    _, (job,) = _batch(one, 1)
    # Where a retry stops between the looks that it takes: what is left of its last end's hooks.
    holder.execute("lock table pgqueue.hook_calls in access exclusive mode")
    retrying = sessions.start(two, "select pgqueue.retry(%s)", job.job_id)
    blockers = "select pg_blocking_pids(%s)"
    eventually(
        lambda: retrying.future.done() or value(one, blockers, two.info.backend_pid),
        what="the retry has looked at the job",
    )
    one.execute(_COMPLETE, job.owned)
    holder.rollback()

    assert retrying.sqlstate() == "PQ002"
    assert _settled(one) == ["over", "yes"]
    assert column(one, "select problem from pgqueue.verify()") == []


def test_closing_waits_for_a_job_that_is_being_inserted(
    open_session: Open, sessions: Sessions
) -> None:
    """Otherwise the batch could be over before the job is in it."""
    producer, operator = open_session(), open_session()
    batch, (job,) = _batch(producer, 1, close=False)
    producer.execute("begin")
    late = insert(producer, batch_id=batch)
    closed = sessions.start(operator, "select pgqueue.close_batch(%s)", batch).blocked()
    producer.execute("commit")
    closed.rows()
    producer.execute(_COMPLETE, job.owned)
    before = _called(producer)
    producer.execute(_COMPLETE, claim_this(producer, late).owned)

    assert (before, _called(producer)) == ([], ["over", "yes"])


def test_an_insert_waits_for_a_closing_and_is_refused(
    open_session: Open, sessions: Sessions
) -> None:
    """It comes too late, and hears it."""
    producer, operator = open_session(), open_session()
    batch, _ = _batch(producer, 0, close=False)
    operator.execute("begin")
    operator.execute("select pgqueue.close_batch(%s)", (batch,))
    inserted = sessions.start(
        producer, "insert into pgqueue.jobs (job_type, batch_id) values ('t', %s)", batch
    ).blocked()
    operator.execute("commit")

    assert inserted.sqlstate() == "23514"
    assert _called(producer) == ["over", "yes"]


def test_the_last_job_against_the_closing(open_session: Open, sessions: Sessions) -> None:
    """Whichever commits later sees the other, or maintenance does."""
    one, two = open_session(), open_session()
    batch, (job,) = _batch(one, 1, close=False)
    one.execute("begin")
    one.execute("select pgqueue.close_batch(%s)", (batch,))
    done = sessions.start(two, _COMPLETE, *job.owned)
    done.rows()
    one.execute("commit")
    first = _settled(one)

    assert first == ["over", "yes"]
    assert column(one, "select problem from pgqueue.verify()") == []


def test_jobs_that_join_from_inside_hold_up_the_end_of_their_parent(
    open_session: Open, sessions: Sessions
) -> None:
    """The batch cannot be over between the two."""
    handler, by = open_session(), open_session()
    _, (job,) = _batch(handler, 1)
    handler.execute("begin")
    handler.execute(
        "select pgqueue.add_to_batch(%s, %s, %s)", (*job.owned, json.dumps([{"job_type": "t"}]))
    )
    done = sessions.start(by, _COMPLETE, *job.owned).blocked()
    handler.execute("commit")
    done.rows()
    before = _settled(by)
    (second,) = claim(by, worker(by))
    by.execute(_COMPLETE, second.owned)

    assert (before, _called(by)) == ([], ["over", "yes"])


def test_a_finish_with_an_old_snapshot_leaves_the_end_to_maintenance(open_session: Open) -> None:
    """REPEATABLE READ sees neither the other finish nor the end: it must not call back again."""
    one, two = open_session(), open_session()
    _, (first, second) = _batch(one, 2)
    two.execute("begin isolation level repeatable read")
    two.execute("select from pgqueue.jobs")
    one.execute(_COMPLETE, first.owned)
    two.execute(_COMPLETE, second.owned)
    two.execute("commit")

    assert _settled(one) == ["over", "yes"]


def test_a_retry_against_the_last_job(open_session: Open) -> None:
    """Success is not told while a retry is under way; completion once at most."""
    one, two = open_session(), open_session()
    _, (bad, last) = _batch(one, 2)
    one.execute(_FAIL, bad.owned)
    one.execute("begin")
    one.execute("select pgqueue.retry(%s)", (bad.job_id,))
    two.execute(_COMPLETE, last.owned)
    one.execute("commit")
    before = _settled(one)
    one.execute(_COMPLETE, claim_this(one, bad.job_id).owned)

    assert "yes" not in before
    assert _settled(one) == ["no", "over", "yes"]


def test_a_retried_job_adds_to_a_batch_that_has_not_noticed_yet(open_session: Open) -> None:
    """Somebody held the batch's lock at the retry: it still has its finished_at."""
    one, two = open_session(), open_session()
    batch, (job,) = _batch(one, 1)
    one.execute(_FAIL, job.owned)
    two.execute("begin")
    two.execute("select pgqueue.close_batch(%s)", (batch,))
    one.execute("select pgqueue.retry(%s)", (job.job_id,))
    two.execute("commit")
    noticed = value(one, "select finished_at is null from pgqueue.batches")
    again = claim_this(one, job.job_id)
    report(one, [again], [{"follow_ups": [{"job_type": "t", "same_batch": True}]}])

    assert noticed is False
    assert (
        value(
            one, "select count(*) from pgqueue.jobs where job_type = 't' and batch_id = %s", batch
        )
        == 2
    )
    assert column(one, "select problem from pgqueue.verify()") == []


def test_two_batches_that_end_crosswise_do_not_deadlock(
    open_session: Open, sessions: Sessions
) -> None:
    """Each finishes a job of either; they wait for each other's lock, and give up in time."""
    one, two = open_session(), open_session()
    _, (a, b) = _batch(one, 2)
    _, (c, d) = _batch(one, 2)
    one.execute("begin")
    two.execute("begin")
    one.execute(_COMPLETE, a.owned)
    two.execute(_COMPLETE, c.owned)
    crossing = sessions.start(one, _COMPLETE, *d.owned)
    two.execute(_COMPLETE, b.owned)
    crossing.rows()
    one.execute("commit")
    two.execute("commit")

    assert _settled(one) == ["over", "over", "yes", "yes"]


def _work(db: Db, seed: int) -> int:
    by, done = worker(db, lease="1 minute"), 0
    for turn in range(300):
        jobs = claim(db, by, 1 + (seed + turn) % 5)
        if not jobs and not value(db, "select count(*) from pgqueue.running"):
            break
        if turn % 17 == 5 and jobs:
            worker_dies(db, by)
            db.execute("select pgqueue.rescue()")
            by = worker(db)
            continue
        outcomes: list[Any] = []
        for job in jobs:
            if job.pos % 11 == 0 and job.attempt < 3:
                outcomes.append({"do": "fail", "retry_after_seconds": 0})
            elif job.pos % 7 == 0:
                outcomes.append({"follow_ups": [{"job_type": "t", "same_batch": True}]})
            elif job.pos % 13 == 0:
                outcomes.append({"do": "fail", "retryable": False})
            else:
                outcomes.append(None)
        if jobs:
            report(db, jobs, outcomes)
        done += len(jobs)
        if turn % 10 == seed:
            db.execute("select pgqueue.merge_batches()")
    return done


def test_many_batches_under_load_are_each_told_once(open_session: Open, sessions: Sessions) -> None:
    """Follow-ups join, attempts fail, workers die, maintenance merges: each completes once."""
    db = open_session()
    batches = [value(db, _OPEN) for _ in range(30)]
    for n, batch in enumerate(batches):
        db.execute(
            "insert into pgqueue.jobs (job_type, batch_id)"
            " select 't', %s from generate_series(1, %s)",
            (batch, 1 + n % 8),
        )
        db.execute("select pgqueue.close_batch(%s)", (batch,))
    sessions.together([partial(_work, open_session(), seed) for seed in range(4)])
    for _ in range(50):
        db.execute("select pgqueue.rescue()")
        _work(db, 0)
        if not value(
            db,
            "select count(*) from pgqueue.jobs j"
            " where not exists (select from pgqueue.finished f where f.job_id = j.id)",
        ):
            break
    db.execute("select pgqueue.merge_batches()")
    told = dict(
        db.execute(
            "select headers ->> 'batch_event', count(*) from pgqueue.jobs"
            " where headers ? 'batch_id' group by 1"
        ).fetchall()
    )

    assert told["complete"] == 30
    assert told.get("success", 0) + told.get("failure", 0) == 30
    assert value(db, "select count(*) from pgqueue.batches where finished_at is null") == 0
    assert column(db, "select problem from pgqueue.verify()") == []
    assert sqlstate_of(db, "select pgqueue.close_batch(%s)", batches[0]) is None
