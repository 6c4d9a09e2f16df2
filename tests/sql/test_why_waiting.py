"""pgqueue.why_waiting() says in words why a job is not running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import (
    claim_this,
    insert,
    insert_many,
    job_in,
    refused,
    run_one,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.sqljobs import Db


def _why(db: Db, job_id: UUID) -> str:
    return str(value(db, "select pgqueue.why_waiting(%s)", job_id))


def test_a_job_that_nothing_holds_back_should_start_at_once(db: Db) -> None:
    """A live worker listens to its queue, handles its type, and no job is before it."""
    job_id = insert(db)
    worker(db)

    assert _why(db, job_id) == "queued, first in its queue: it should start at once"


def test_jobs_before_it_are_counted(db: Db) -> None:
    """Those of a higher priority, and of its own in front of it; not those behind it."""
    worker(db)
    insert(db)
    job_id = insert(db)
    insert(db, priority=0)
    insert(db, priority=2)
    insert(db, queue="other", priority=0)

    assert _why(db, job_id) == "queued: 2 jobs of its queue come before it"


def test_the_count_of_jobs_before_it_stops(db: Db) -> None:
    """At 10,000: the answer costs the same in front of a million."""
    worker(db)
    insert_many(db, 10_001)
    job_id = insert(db)

    assert _why(db, job_id) == "queued: 10,000 or more jobs of its queue come before it"


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        ("select pgqueue.pause_queue('default', 'database move')", "queue default is paused since"),
        ("select pgqueue.pause_queue('default', 'database move')", "(database move)"),
        ("select pgqueue.pause_job_type('t', 'a bug')", "job type t is paused since"),
        ("select pgqueue.set_job_type('t', p_enabled => false)", "job type t is disabled"),
    ],
)
def test_a_pause_is_named_with_its_reason(db: Db, hold: str, words: str) -> None:
    """Of the queue, of the type, and a type that is switched off."""
    worker(db)
    job_id = insert(db)
    db.execute(hold)

    assert words in _why(db, job_id)


def test_every_reason_is_given(db: Db) -> None:
    """Who lifts the pause must not find out next that there is no worker."""
    job_id = insert(db)
    db.execute("select pgqueue.pause_queue('default')")
    found = _why(db, job_id)

    assert "queue default is paused" in found
    assert "no worker is alive" in found


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ([], "no worker is alive"),
        ([(["other"], None)], "no live worker listens to queue default"),
        ([(["default"], ["u"])], "no live worker handles job type t"),
        (
            [(["default"], ["u"]), (["other"], ["t"])],
            "no live worker both listens to queue default and handles job type t",
        ),
    ],
)
def test_a_missing_worker_is_named(
    db: Db, workers: list[tuple[list[str], list[str] | None]], words: str
) -> None:
    """Which of the two it lacks: the queue or the type."""
    job_id = insert(db)
    for queues, job_types in workers:
        worker(db, queues, job_types=job_types)

    assert words in _why(db, job_id)


def test_a_draining_worker_is_no_help(db: Db) -> None:
    """It is alive but takes nothing more."""
    job_id = insert(db)
    db.execute("select pgqueue.drain_worker(%s)", (worker(db),))

    assert "every worker that could take it is draining" in _why(db, job_id)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("scheduled", "scheduled: its run_at is 2100-01-01"),
        ("retrying", "retrying: attempt 1 failed, the next one is due at "),
        ("blocked", "blocked: it follows job "),
        ("running", "running since "),
        ("succeeded", "finished: succeeded at "),
        ("partial", "finished: partial at "),
        ("failed", "finished: failed at "),
        ("cancelled", "finished: cancelled at "),
    ],
)
def test_each_status_has_its_words(db: Db, wanted: str, words: str) -> None:
    """With the time, the attempt or the job that it is about."""
    assert words in _why(db, job_in(db, wanted).job_id)


def test_a_job_that_waits_for_its_time_may_wait_for_more(db: Db) -> None:
    """A pause that will hold it then is said now."""
    job_id = insert(db, run_at="2100-01-01")
    worker(db)
    db.execute("select pgqueue.pause_queue('default')")

    assert "; and then queue default is paused since" in _why(db, job_id)


def test_a_snooze_is_the_handlers_doing(db: Db) -> None:
    """Not a failure."""
    job = run_one(db)
    db.execute("select pgqueue.snooze(%s, %s, '1 day')", job.owned)

    assert "snoozed by its handler until " in _why(db, job.job_id)


def test_a_late_promotion_is_said(db: Db) -> None:
    """Due, and nobody runs pgqueue.maintain()."""
    job_id = insert(db, run_at="2100-01-01")
    db.execute("update pgqueue.scheduled set due_at = now() - interval '1 minute'")

    assert "not promoted yet" in _why(db, job_id)


def test_an_expired_job_will_not_start(db: Db) -> None:
    """Claims step over it before pgqueue.expire() cancels it."""
    job_id = insert(db, expires_at="2100-01-01")
    db.execute("update pgqueue.ready set expires_at = now() - interval '1 minute'")

    assert "it expired at " in _why(db, job_id)


def test_a_cancel_request_is_said(db: Db) -> None:
    """With its reason, to a job that still runs."""
    job = run_one(db)
    db.execute("select pgqueue.cancel(%s, 'wrong file')", (job.job_id,))
    found = _why(db, job.job_id)

    assert "asked to stop since " in found
    assert "(wrong file)" in found


def test_a_running_job_of_a_dead_worker_comes_back(db: Db) -> None:
    """Its worker's lease ended; nobody has taken it back yet."""
    by = worker(db)
    job_id = insert(db)
    claim_this(db, job_id, by)
    worker_dies(db, by)

    assert "that worker is gone, and the job is taken back soon" in _why(db, job_id)


def test_an_unknown_job_is_refused(db: Db) -> None:
    """As by every other function that takes an id."""
    with refused("PQ003"):
        value(db, "select pgqueue.why_waiting(gen_random_uuid())")
