"""The feed: each completion is handed out until it is acknowledged, and then no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    refused,
    report,
    row,
    run_one,
    value,
    worker,
)

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.sqljobs import Db


def _finish(db: Db, count: int = 1, feed: str = "f", **columns: Any) -> list[Any]:
    """Jobs of this feed that have finished, oldest first."""
    ids = [insert(db, feed=feed, **columns) for _ in range(count)]
    report(db, claim(db, worker(db), 1000))
    return ids


def _take(db: Db, limit: int = 100, feed: str = "f", lease: str = "1 minute") -> list[Any]:
    return column(
        db, "select completion_id from pgqueue.take_completions(%s, %s, %s)", feed, limit, lease
    )


def _lease_ends(db: Db) -> None:
    db.execute("update pgqueue.completions set taken_until = taken_until - interval '1 day'")


def test_a_completion_tells_all_that_a_reader_needs(db: Db) -> None:
    """Which job, how it ended, with what."""
    job = run_one(db, feed="f", idempotency_key="order-7")
    report(
        db,
        [job],
        [{"result": {"n": 1}, "result_url": "s3://x", "errors": [{"code": "c", "message": "m"}]}],
    )
    found = row(
        db,
        "select job_id, job_type, status, result, result_url, errors, idempotency_key, taken"
        " from pgqueue.take_completions('f')",
    )

    assert found == (
        job.job_id,
        "t",
        "partial",
        {"n": 1},
        "s3://x",
        [{"code": "c", "message": "m"}],
        "order-7",
        1,
    )


def test_what_is_taken_is_not_handed_out_twice(db: Db) -> None:
    """While its lease lasts; then it is, and says how often."""
    _finish(db)
    first = _take(db)
    meanwhile = _take(db)
    _lease_ends(db)
    again = row(db, "select completion_id, taken from pgqueue.take_completions('f')")

    assert meanwhile == []
    assert again == (*first, 2)


def test_what_is_acknowledged_is_gone(db: Db) -> None:
    """Also after its lease; repeating it is harmless, and another feed's number is nothing."""
    _finish(db, 3)
    taken = _take(db)
    _lease_ends(db)

    assert value(db, "select pgqueue.ack_completions('g', %s)", taken) == 0
    assert value(db, "select pgqueue.ack_completions('f', %s)", taken[:2]) == 2
    assert value(db, "select pgqueue.ack_completions('f', %s)", taken[:2]) == 0
    assert _take(db) == taken[2:]


def test_feeds_are_apart(db: Db) -> None:
    """Each reader takes its own."""
    (one,), (other,) = _finish(db, feed="f"), _finish(db, feed="g")

    assert column(db, "select job_id from pgqueue.take_completions('f')") == [one]
    assert column(db, "select job_id from pgqueue.take_completions('g')") == [other]
    assert column(db, "select job_id from pgqueue.take_completions('nobody')") == []


def test_take_and_acknowledge_commit_with_the_readers_own_writes(connect: Connect, db: Db) -> None:
    """Exactly once, in one transaction: a rollback gives the completion back at once."""
    _finish(db)
    own = connect(autocommit=False)
    own.execute("create table seen (job_id uuid)")
    own.commit()
    for commit in (False, True):
        own.execute(
            "with t as (select * from pgqueue.take_completions('f')), s as ("
            " insert into seen select job_id from t)"
            " select pgqueue.ack_completions('f', array(select completion_id from t))"
        )
        if commit:
            own.commit()
        else:
            own.rollback()

    assert value(db, "select count(*) from seen") == 1
    assert _take(db) == []


def test_a_completion_committed_late_is_not_missed(connect: Connect, db: Db) -> None:
    """It drew its number early: a reader that had moved past it would never see it."""
    slow = run_one(db, feed="f")
    own = connect(autocommit=False)
    own.execute("select pgqueue.complete(%s, %s)", slow.owned)
    _finish(db, 5)
    before = _take(db)
    value(db, "select pgqueue.ack_completions('f', %s)", before)
    own.commit()

    assert len(before) == 5
    assert column(db, "select job_id from pgqueue.take_completions('f')") == [slow.job_id]


def test_readers_side_by_side_share_without_waiting(connect: Connect, db: Db) -> None:
    """SKIP LOCKED: the second reader gets the rest while the first one's transaction is open."""
    _finish(db, 10)
    own = connect(autocommit=False)
    first = _take(own, 4)
    second = _take(db, 100)
    own.commit()

    assert (len(first), len(second)) == (4, 6)
    assert set(first).isdisjoint(second)


def test_the_result_is_that_of_the_finish(db: Db) -> None:
    """A job retried since: the completion still says how it ended then, without a result."""
    job = run_one(db, feed="f")
    db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    db.execute("select pgqueue.retry(%s)", (job.job_id,))

    assert row(db, "select status, errors from pgqueue.take_completions('f')") == ("failed", None)


def test_retention_takes_what_nobody_read_along(db: Db) -> None:
    """A completion goes with its job; nothing is left behind."""
    _finish(db, 3)
    _finish(db, 2, feed="g")
    db.execute("update pgqueue.finished set finished_at = finished_at - interval '1 year'")
    removed = value(db, "select pgqueue.retain()")

    assert removed == 5
    assert value(db, "select count(*) from pgqueue.completions") == 0


@pytest.mark.parametrize(
    "arguments",
    ["'f', 0", "'f', 10001", "'f', null", "'f', 1, '0 s'", "'f', 1, null", "'f', 1, '2 days'"],
)
def test_arguments_that_make_no_sense_are_refused(db: Db, arguments: str) -> None:
    """PQ006, with the bounds in the message."""
    with refused("PQ006"):
        db.execute(f"select pgqueue.take_completions({arguments})")


def test_a_take_reads_what_it_hands_out(db: Db) -> None:
    """Not the whole feed, nor other feeds: buffers do not grow with either."""
    db.execute(
        "insert into pgqueue.completions (feed, tenant_id, job_id, job_type, status, finished_at)"
        " select 'g', '', gen_random_uuid(), 't', 'succeeded', now() from generate_series(1, 5000)"
    )
    _finish(db, 200)

    def buffers() -> int:
        plan = value(
            db,
            "explain (analyze, buffers, format json) select pgqueue.take_completions('f', 10)",
        )[0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    buffers()
    found = buffers()
    db.execute("delete from pgqueue.completions where feed = 'g'")

    assert found < 200
