"""A signal against the job that begins to wait for it, and against the end of its patience."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    insert_many,
    report,
    run_one,
    sqlstate_of,
    status,
    value,
    worker,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Db

_PAUSE = "select pgqueue.pause_until(%s, %s, 'a')"
_SIGNAL = "select pgqueue.signal(%s, 'a', '1')"


def test_a_signal_waits_for_a_job_that_begins_to_wait(
    open_session: Open, sessions: Sessions
) -> None:
    """And then lets it go: neither has missed the other."""
    by, sender = open_session(), open_session()
    job = run_one(by)
    by.execute("begin")
    by.execute(_PAUSE, job.owned)
    sent = sessions.start(sender, _SIGNAL, job.job_id).blocked()
    by.execute("commit")

    assert sent.value() is True
    assert status(by, job.job_id) == "queued"


def test_a_job_that_begins_to_wait_does_not_wait_for_a_signal(open_session: Open) -> None:
    """A sender's open transaction holds up no report; the job is looked at again a second later."""
    by, sender = open_session(), open_session()
    job = run_one(by)
    sender.execute("begin")
    sender.execute(_SIGNAL, (job.job_id,))
    by.execute(_PAUSE, job.owned)
    soon = value(by, "select look_at <= clock_timestamp() + interval '1 s' from pgqueue.blocked")
    sender.execute("commit")
    by.execute("update pgqueue.blocked set look_at = now()")
    by.execute("select * from pgqueue.maintain()")

    assert soon is True
    assert status(by, job.job_id) == "queued"


def test_a_signal_that_was_rolled_back_leaves_the_job_waiting(open_session: Open) -> None:
    """For ever, with nothing more to look at, as if it had not been looked at twice."""
    by, sender = open_session(), open_session()
    job = run_one(by)
    sender.execute("begin")
    sender.execute(_SIGNAL, (job.job_id,))
    by.execute(_PAUSE, job.owned)
    sender.execute("rollback")
    by.execute("update pgqueue.blocked set look_at = now()")
    by.execute("select * from pgqueue.maintain()")

    assert column(by, "select look_at from pgqueue.blocked") == [None]
    assert status(by, job.job_id) == "blocked"


def test_a_timeout_steps_past_a_job_that_is_being_signalled(open_session: Open) -> None:
    """Maintenance waits for nobody; the signal that commits wins."""
    by, sender = open_session(), open_session()
    job = run_one(by)
    by.execute("select pgqueue.pause_until(%s, %s, 'a', '1 hour')", job.owned)
    by.execute("update pgqueue.blocked set look_at = now(), timeout_at = now()")
    sender.execute("begin")
    sender.execute(_SIGNAL, (job.job_id,))
    by.execute("select * from pgqueue.maintain()")
    sender.execute("commit")

    assert status(by, job.job_id) == "queued"


def test_a_signal_waits_for_a_timeout_and_is_refused(
    open_session: Open, sessions: Sessions
) -> None:
    """The job has failed when it comes."""
    by, sender = open_session(), open_session()
    job = run_one(by)
    by.execute("select pgqueue.pause_until(%s, %s, 'a', '1 hour')", job.owned)
    by.execute("update pgqueue.blocked set look_at = now(), timeout_at = now()")
    by.execute("begin")
    by.execute("select * from pgqueue.look_at_signals()")
    sent = sessions.start(sender, _SIGNAL, job.job_id).blocked()
    by.execute("commit")

    assert sent.sqlstate() == "PQ002"
    assert status(by, job.job_id) == "failed"


def _old_snapshot(db: Db) -> None:
    db.execute("begin isolation level repeatable read")
    db.execute("select from pgqueue.jobs")


def test_a_signal_with_an_old_snapshot_is_told_to_come_again(open_session: Open) -> None:
    """It does not see that the job waits by now: 40001, instead of a job that waits for ever."""
    by, sender = open_session(), open_session()
    job = run_one(by)
    _old_snapshot(sender)
    by.execute(_PAUSE, job.owned)
    first = sqlstate_of(sender, _SIGNAL, job.job_id)
    sender.execute("rollback")
    again = value(sender, _SIGNAL, job.job_id)

    assert (first, again) == ("40001", True)
    assert status(by, job.job_id) == "queued"


def test_a_job_that_waits_with_an_old_snapshot_is_told_to_come_again(open_session: Open) -> None:
    """It does not see that the signal is there: 40001, and it still owns its attempt."""
    by, sender = open_session(), open_session()
    job = run_one(by)
    _old_snapshot(by)
    sender.execute(_SIGNAL, (job.job_id,))
    first = sqlstate_of(by, _PAUSE, *job.owned)
    by.execute("rollback")
    by.execute(_PAUSE, job.owned)

    assert first == "40001"
    assert status(by, job.job_id) == "queued"


def test_a_signal_with_a_snapshot_from_before_the_second_look_is_told_to_come_again(
    open_session: Open,
) -> None:
    """The job found its row locked; maintenance looked, saw no signal and looks no more."""
    by, sender, other = open_session(), open_session(), open_session()
    job = run_one(by)
    _old_snapshot(sender)
    other.execute("begin")
    other.execute("select from pgqueue.jobs for no key update")
    by.execute(_PAUSE, job.owned)
    other.execute("commit")
    by.execute("update pgqueue.blocked set look_at = now()")
    by.execute("select * from pgqueue.maintain()")
    first = sqlstate_of(sender, _SIGNAL, job.job_id)
    sender.execute("rollback")

    assert first == "40001"
    assert status(by, job.job_id) == "blocked"


def test_of_two_signals_at_once_one_counts(open_session: Open, sessions: Sessions) -> None:
    """The job runs once."""
    db = open_session()
    job = run_one(db)
    db.execute(_PAUSE, job.owned)
    senders = [open_session() for _ in range(4)]
    answers = sessions.together([partial(value, one, _SIGNAL, job.job_id) for one in senders])

    assert sorted(answers) == [False, False, False, True]
    assert [found.job_id for found in claim(db, worker(db))] == [job.job_id]


def test_a_signal_against_a_cancellation(open_session: Open, sessions: Sessions) -> None:
    """Whoever comes later finds the job moved."""
    db, other = open_session(), open_session()
    job = run_one(db)
    db.execute(_PAUSE, job.owned)
    db.execute("begin")
    db.execute("select pgqueue.cancel(%s)", (job.job_id,))
    sent = sessions.start(other, _SIGNAL, job.job_id).blocked()
    db.execute("commit")

    assert sent.sqlstate() == "PQ002"
    assert status(db, job.job_id) == "cancelled"


def test_a_signal_waits_for_a_child_that_is_being_inserted(
    open_session: Open, sessions: Sessions
) -> None:
    """It lets the parent go with the mark: whoever finishes it finds the child."""
    db, producer = open_session(), open_session()
    job = run_one(db)
    db.execute(_PAUSE, job.owned)
    producer.execute("begin")
    child = insert(producer, depends_on=(job.job_id,))
    sent = sessions.start(db, _SIGNAL, job.job_id).blocked()
    producer.execute("commit")
    sent.rows()
    (again,) = claim(db, worker(db))
    db.execute("select pgqueue.complete(%s, %s)", again.owned)

    assert status(db, child) == "queued"


def _send(db: Db, jobs: list[UUID], names: tuple[str, ...]) -> int:
    return sum(
        value(db, "select pgqueue.signal(%s, %s)", job, name) for name in names for job in jobs
    )


def _work(db: Db, jobs: int) -> int:
    """Each job waits for a, then for b, then is done."""
    by, done = worker(db), 0
    for _ in range(2_000):
        found = claim(db, by, 5)
        outcomes: list[object] = []
        for job in found:
            told = {
                one["name"] for one in json.loads(job.headers or "{}").get("pgqueue.signals", [])
            }
            wanted = next((name for name in "ab" if name not in told), None)
            outcomes.append(None if wanted is None else {"do": "pause_until", "signal": wanted})
        if found:
            report(db, found, outcomes)
        done += outcomes.count(None)
        if value(db, "select count(*) from pgqueue.finished") == jobs:
            break
        db.execute("select * from pgqueue.look_at_signals()")
    return done


def test_signals_under_load_are_never_lost(open_session: Open, sessions: Sessions) -> None:
    """Senders and workers at once, two waits per job: every job ends, none twice."""
    db = open_session()
    insert_many(db, 60)
    insert(db)
    jobs = column(db, "select id from pgqueue.jobs")
    tasks = [partial(_work, open_session(), 61) for _ in range(3)]
    tasks += [partial(_send, open_session(), jobs[n::2], ("b", "a")) for n in range(2)]
    *done, first, second = sessions.together(tasks)

    assert (sum(done), first + second) == (61, 122)
    assert column(db, "select problem from pgqueue.verify()") == []
