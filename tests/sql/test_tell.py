"""NOTIFY for jobs that asked: ids only, one per batch, whoever finishes them and however."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tests.support.sqljobs import claim, column, insert, report, run_one, value, worker

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_ALL: dict[str, Any] = {"notify": True, "feed": "f", "callback_url": "https://a.example/"}


def _heard(listener: Db, *, count: int = 1) -> list[list[UUID]]:
    """The ids of each notification; all that is there when *count* of them have come."""
    found = [
        note.payload for note in listener.notifies(timeout=5 if count else 0.1, stop_after=count)
    ]
    return [[UUID(one) for one in payload.split(",")] for payload in found]


@pytest.fixture
def listener(connect: Connect) -> Db:
    """A connection that listens."""
    own = connect()
    own.execute("listen pgqueue_finished")
    return own


# How a job can finish -> the statement, for a job that runs as %(id)s with %(token)s.
_ENDINGS = {
    "succeeded": "select pgqueue.complete(%(id)s, %(token)s)",
    "partial": """select pgqueue.complete(%(id)s, %(token)s, p_errors => '[{"code": "c"}]')""",
    "failed": "select pgqueue.fail(%(id)s, %(token)s, null, false)",
    "cancelled": "select pgqueue.cancel_running(%(id)s, %(token)s)",
}


@pytest.mark.parametrize("ending", _ENDINGS)
def test_each_ending_is_told_in_all_three_ways(db: Db, listener: Db, ending: str) -> None:
    """A notification, a completion in the feed, a delivery to the callback_url."""
    job = run_one(db, **_ALL)
    db.execute(_ENDINGS[ending], {"id": job.job_id, "token": job.token})

    assert _heard(listener) == [[job.job_id]]
    assert db.execute("select job_id, status from pgqueue.take_completions('f')").fetchall() == [
        (job.job_id, ending)
    ]
    assert column(
        db, "select payload ->> 'body' from pgqueue.jobs where callback_of = %s", job.job_id
    )[0].startswith(f'{{"data": {{"id": "{job.job_id}"')


def test_a_waiting_job_that_is_cancelled_is_told(db: Db, listener: Db) -> None:
    """By cancel, purge and expiry: it never ran, and somebody waits for it."""
    cancelled = insert(db, **_ALL)
    db.execute("select pgqueue.cancel(%s)", (cancelled,))
    purged = insert(db, **_ALL)
    db.execute("select pgqueue.purge_queue('default')")
    expired = insert(db, expires_at="2020-01-01", **_ALL)
    db.execute("select pgqueue.expire()")

    assert _heard(listener, count=3) == [[cancelled], [purged], [expired]]
    assert len(column(db, "select job_id from pgqueue.take_completions('f')")) == 3


def test_a_job_that_dies_with_its_worker_is_told(db: Db, listener: Db) -> None:
    """Rescue finishes it when no attempt is left."""
    job = run_one(db, max_attempts=1, **_ALL)
    db.execute("update pgqueue.workers set heartbeat_at = heartbeat_at - interval '1 day'")
    db.execute("select pgqueue.rescue()")

    assert _heard(listener) == [[job.job_id]]
    assert column(db, "select status from pgqueue.take_completions('f')") == ["failed"]


def test_an_attempt_that_does_not_finish_its_job_is_not_told(db: Db, listener: Db) -> None:
    """Retry, snooze and release."""
    for end in ("fail(%s, %s)", "snooze(%s, %s, '1 day')", "release(%s, %s)"):
        job = run_one(db, **_ALL)
        db.execute(f"select pgqueue.{end}", job.owned)

    assert _heard(listener, count=0) == []
    assert column(db, "select job_id from pgqueue.take_completions('f')") == []
    assert column(db, "select id from pgqueue.jobs where callback_of is not null") == []


def test_a_batch_is_one_notification_with_the_ids_that_asked(db: Db, listener: Db) -> None:
    """Two hundred ids fit into one payload."""
    asked = {insert(db, notify=True) for _ in range(200)}
    for _ in range(50):
        insert(db)
    report(db, claim(db, worker(db), 1000))
    (heard,) = _heard(listener)

    assert set(heard) == asked
    assert _heard(listener, count=0) == []


def test_a_batch_beyond_a_payload_is_split(db: Db, listener: Db) -> None:
    """No payload reaches the 8,000 bytes at which NOTIFY fails."""
    db.execute(
        "insert into pgqueue.jobs (job_type, notify) select 't', true from generate_series(1, 501)"
    )
    report(db, claim(db, worker(db), 1000))
    heard = _heard(listener, count=3)

    assert [len(ids) for ids in heard] == [200, 200, 101]
    assert {one for ids in heard for one in ids} == set(column(db, "select id from pgqueue.jobs"))


def test_a_rolled_back_completion_is_not_told(connect: Connect, db: Db, listener: Db) -> None:
    """The news commit with the outcome."""
    job = run_one(db, **_ALL)
    own = connect(autocommit=False)
    own.execute("select pgqueue.complete(%s, %s)", job.owned)
    own.rollback()

    assert _heard(listener, count=0) == []
    assert column(db, "select job_id from pgqueue.take_completions('f')") == []


def test_a_job_finished_twice_is_told_twice(db: Db, listener: Db) -> None:
    """A retry of a finished job carries its wishes along."""
    job = run_one(db, unique_key="k", **_ALL)
    db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    db.execute("select pgqueue.retry(%s)", (job.job_id,))
    report(db, claim(db, worker(db)))

    assert _heard(listener, count=2) == [[job.job_id]] * 2
    assert column(
        db, "select status from pgqueue.take_completions('f') order by completion_id"
    ) == [
        "failed",
        "succeeded",
    ]
    assert value(db, "select count(*) from pgqueue.jobs where callback_of = %s", job.job_id) == 2


def test_jobs_that_do_not_ask_write_nothing_more(db: Db) -> None:
    """No flag, no completion, no delivery; keyed jobs neither."""
    running = run_one(db, unique_key="k")
    insert(db)
    flags = column(
        db,
        "select flags from pgqueue.ready union all select flags from pgqueue.running order by 1",
    )
    report(db, [running, *claim(db, worker(db))])

    assert flags == [0, 1]
    assert value(db, "select count(*) from pgqueue.completions") == 0
    assert value(db, "select count(*) from pgqueue.jobs") == 2


def test_what_a_job_asked_for_never_changes(db: Db) -> None:
    """Its flags were set when it was inserted: PQ007."""
    insert(db, feed="f")

    for change in ("notify = true", "feed = null", "callback_url = 'https://a.example/'"):
        with pytest.raises(Exception, match="never change"):
            db.execute(f"update pgqueue.jobs set {change}")


def test_functions_and_follow_ups_can_ask_too(db: Db) -> None:
    """enqueue, enqueue_many and the follow_ups of a completion."""
    asked = '"notify": true, "feed": "f", "callback_url": "https://a.example/"'
    db.execute(
        "select pgqueue.enqueue('t', p_notify => true, p_feed => 'f',"
        " p_callback_url => 'https://a.example/')"
    )
    db.execute(f"""select pgqueue.enqueue_many('[{{"job_type": "t", {asked}}}]')""")
    db.execute(
        f"""select pgqueue.enqueue_many('[{{"job_type": "t", "unique_key": "k", {asked}}}]')"""
    )
    parent = run_one(db, queue="other")
    report(db, [parent], [f'{{"follow_ups": [{{"job_type": "t", {asked}}}]}}'])

    assert column(db, "select flags from pgqueue.ready order by flags") == [14, 14, 14, 15]
