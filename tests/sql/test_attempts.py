"""Attempts that do not finish their job: fail, snooze, release, and what they say meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import (
    claim,
    claim_one,
    claim_this,
    column,
    insert,
    place,
    refused,
    row,
    run_one,
    status,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.sqljobs import Db


def _due_in(db: Db, job_id: UUID) -> float:
    return float(
        value(
            db,
            """select extract(epoch from due_at - clock_timestamp())
               from pgqueue.scheduled where job_id = %s""",
            job_id,
        )
    )


def test_a_failed_attempt_is_recorded_and_the_job_retries(db: Db) -> None:
    """The attempt keeps its error, worker and number; the job waits for its backoff."""
    db.execute("select pgqueue.set_job_type('t', p_backoff_base => '1 hour')")
    job = run_one(db)
    error = {"code": "timeout", "message": "upstream", "item": 7}
    answer = value(db, "select pgqueue.fail(%s, %s, %s)", *job.owned, json.dumps(error))

    assert (answer, status(db, job.job_id)) == ("retrying", "retrying")
    assert row(
        db, "select token, attempt, outcome, error, started_at <= ended_at from pgqueue.attempts"
    ) == (job.token, 1, "retrying", error, True)
    assert 0 <= _due_in(db, job.job_id) <= 3600


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (None, {"code": "error", "message": "failed"}),
        ('"boom"', {"code": "error", "message": "boom"}),
        ("[1, 2]", {"code": "error", "message": "[1, 2]"}),
        ("null", {"code": "error", "message": "null"}),
        ('{"code": "mine"}', {"code": "mine"}),
    ],
)
def test_an_error_is_always_stored_as_an_object(
    db: Db, given: str | None, stored: dict[str, str]
) -> None:
    """Views and callers read code and message; a bare string is wrapped."""
    job = run_one(db)
    db.execute("select pgqueue.fail(%s, %s, %s, false)", (*job.owned, given))

    assert value(db, "select errors from pgqueue.finished") == [stored]


def test_the_last_attempt_fails_the_job(db: Db) -> None:
    """max_attempts attempts, not one more; every earlier error is kept."""
    job_id = insert(db, max_attempts=3)
    answers = []
    for n in range(1, 4):
        job = claim_one(db)
        answers.append(
            value(
                db,
                "select pgqueue.fail(%s, %s, %s, p_retry_after => '0')",
                *job.owned,
                json.dumps({"code": f"e{n}"}),
            )
        )

    assert answers == ["retrying", "retrying", "failed"]
    assert column(db, "select error ->> 'code' from pgqueue.attempts order by token") == [
        "e1",
        "e2",
    ]
    assert row(db, "select attempt, errors from pgqueue.finished where job_id = %s", job_id) == (
        3,
        [{"code": "e3"}],
    )


def test_an_error_without_retry_fails_at_once(db: Db) -> None:
    """Attempts that are left stay unused; item errors come before the final one."""
    job = run_one(db)
    answer = value(
        db,
        """select pgqueue.fail(%s, %s, '{"code": "bad"}', false, null, '[{"code": "row 1"}]',
            '{"items": 1}')""",
        *job.owned,
    )

    assert answer == "failed"
    assert row(db, "select errors, metrics from pgqueue.finished") == (
        [{"code": "row 1"}, {"code": "bad"}],
        {"items": 1},
    )


def test_retry_after_overrides_the_backoff(db: Db) -> None:
    """The upstream knows better when to come back."""
    job = run_one(db)
    db.execute("select pgqueue.fail(%s, %s, p_retry_after => '2 days')", job.owned)

    assert 172_700 < _due_in(db, job.job_id) <= 172_800


@pytest.mark.parametrize("argument", ["p_errors => '{}'", "p_metrics => '[]'"])
def test_a_failure_with_details_that_make_no_sense_is_refused(db: Db, argument: str) -> None:
    """PQ006; the attempt is still running."""
    job = run_one(db)
    with refused("PQ006"):
        db.execute(f"select pgqueue.fail(%s, %s, {argument})", job.owned)

    assert place(db, job.job_id) == "running"


def test_repeating_a_failure_is_harmless(db: Db) -> None:
    """The same answer, one attempt, one count."""
    once, final = run_one(db), run_one(db)
    call = "select pgqueue.fail(%s, %s, null, %s, '1 hour')"
    answers = [value(db, call, *once.owned, True) for _ in range(2)]
    answers += [value(db, call, *final.owned, False) for _ in range(2)]

    assert answers == ["retrying", "retrying", "failed", "failed"]
    assert value(db, "select count(*) from pgqueue.attempts") == 1
    assert value(db, "select sum(jobs) from pgqueue.stats_log") == 2


def test_a_failure_after_another_answer_is_refused(db: Db) -> None:
    """A job that this attempt has given back is not failed by it any more."""
    job = run_one(db)
    db.execute("select pgqueue.release(%s, %s)", job.owned)
    with refused("PQ001"):
        db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)

    assert status(db, job.job_id) == "queued"


def test_snooze_waits_without_using_up_an_attempt(db: Db) -> None:
    """The next claim has the same attempt number and another token."""
    job = run_one(db, max_attempts=1)
    db.execute("select pgqueue.snooze(%s, %s, '1 hour')", job.owned)
    waits = (status(db, job.job_id), 3500 < _due_in(db, job.job_id) <= 3600)
    db.execute("select pgqueue.retry(%s)", (job.job_id,))
    again = claim_one(db)

    assert waits == ("scheduled", True)
    assert (again.job_id, again.attempt) == (job.job_id, 1)
    assert again.token > job.token
    assert column(db, "select outcome from pgqueue.attempts") == ["snoozed"]


@pytest.mark.parametrize("delay", [None, "-1 s", "11 years"])
def test_a_snooze_that_makes_no_sense_is_refused(db: Db, delay: str | None) -> None:
    """PQ006; the attempt is still running."""
    job = run_one(db)
    with refused("PQ006"):
        db.execute("select pgqueue.snooze(%s, %s, %s)", (*job.owned, delay))

    assert place(db, job.job_id) == "running"


def test_release_gives_the_job_back_at_once(db: Db) -> None:
    """At the end of its queue, with its attempts intact; repeating it is harmless."""
    job = run_one(db, max_attempts=1)
    insert(db, "other")
    for _ in range(2):
        db.execute("select pgqueue.release(%s, %s)", job.owned)
    found = [(one.job_type, one.attempt) for one in claim(db, worker(db))]

    assert found == [("other", 1), ("t", 1)]
    assert column(db, "select outcome from pgqueue.attempts") == ["released"]


@pytest.mark.parametrize("call", ["fail(%s, %s)", "snooze(%s, %s, '1 h')", "release(%s, %s)"])
def test_a_job_that_was_asked_to_stop_ends_as_cancelled(db: Db, call: str) -> None:
    """Whatever its attempt says, other than that it is done."""
    job = run_one(db)
    db.execute("select pgqueue.cancel(%s, 'not needed')", (job.job_id,))
    for _ in range(2):
        db.execute(f"select pgqueue.{call}", job.owned)

    assert row(db, "select status, reason from pgqueue.finished") == ("cancelled", "not needed")


def test_an_error_code_of_the_handler_does_not_look_like_a_rescue(db: Db) -> None:
    """A repeated report of a job that failed with code worker_lost is a repeated report."""
    job = run_one(db)
    answers = [
        value(db, """select pgqueue.fail(%s, %s, '{"code": "worker_lost"}', false)""", *job.owned)
        for _ in range(2)
    ]

    assert answers == ["failed", "failed"]
    assert value(db, "select pgqueue.settle(%s, %s)", *job.owned) == "finished"


def test_attempts_never_exceed_their_maximum(db: Db) -> None:
    """A job that keeps killing its worker ends as failed after max_attempts claims."""
    job_id = insert(db, max_attempts=3)
    attempts = []
    for _ in range(5):
        by = worker(db)
        found = claim(db, by)
        attempts += [job.attempt for job in found]
        worker_dies(db, by)
        db.execute("select pgqueue.rescue()")

    assert attempts == [1, 2, 3]
    assert status(db, job_id) == "failed"
    assert value(db, "select errors -> 0 ->> 'code' from pgqueue.finished") == "worker_lost"
    assert column(db, "select outcome from pgqueue.attempts") == ["lost", "lost"]


def test_progress_is_kept_with_the_running_job(db: Db) -> None:
    """A later call without a message keeps the last one."""
    job = run_one(db)
    db.execute("select pgqueue.progress(%s, %s, 10, 'reading')", job.owned)
    db.execute("select pgqueue.progress(%s, %s, 20.5)", job.owned)

    assert row(
        db, "select progress, progress_message, progress_at is not null from pgqueue.running"
    ) == (20.5, "reading", True)


@pytest.mark.parametrize("percent", ["-0.1", "100.1", "'NaN'", "'infinity'", "null"])
def test_progress_outside_of_0_to_100_is_refused(db: Db, percent: str) -> None:
    """PQ006, as is a message of more than 1,000 characters."""
    job = run_one(db)
    with refused("PQ006"):
        db.execute(f"select pgqueue.progress(%s, %s, {percent})", job.owned)
    with refused("PQ006"):
        db.execute("select pgqueue.progress(%s, %s, 1, repeat('x', 1001))", job.owned)

    assert value(db, "select progress from pgqueue.running") is None


def test_a_progress_update_touches_no_index(db: Db) -> None:
    """A HOT update: the indexes of running do not grow with the number of reports."""
    job = run_one(db)
    before = value(db, "select pg_stat_get_xact_tuples_updated('pgqueue.running'::regclass)")
    with db.transaction():
        for percent in range(5):
            db.execute("select pgqueue.progress(%s, %s, %s)", (*job.owned, percent))
        updated, hot = row(
            db,
            """select pg_stat_get_xact_tuples_updated('pgqueue.running'::regclass),
                      pg_stat_get_xact_tuples_hot_updated('pgqueue.running'::regclass)""",
        )

    assert updated - before == 5
    assert hot == updated


def test_extend_moves_the_deadline(db: Db) -> None:
    """From now, not from the old deadline; a job without a limit gets one."""
    limited, free = run_one(db, timeout="1 s"), run_one(db)
    for job in (limited, free):
        until = value(db, "select pgqueue.extend(%s, %s, '1 hour')", *job.owned)

        assert value(db, "select %s between now() + '59 min' and now() + '61 min'", until) is True
        assert until == value(
            db, "select deadline_at from pgqueue.running where job_id = %s", job.job_id
        )


@pytest.mark.parametrize("by", [None, "0", "-1 s", "31 days"])
def test_an_extension_that_makes_no_sense_is_refused(db: Db, by: str | None) -> None:
    """PQ006; the deadline stays."""
    job = run_one(db, timeout="1 min")
    before = value(db, "select deadline_at from pgqueue.running")
    with refused("PQ006"):
        db.execute("select pgqueue.extend(%s, %s, %s)", (*job.owned, by))

    assert value(db, "select deadline_at from pgqueue.running") == before


def test_a_job_past_its_deadline_is_taken_back_after_the_grace(db: Db) -> None:
    """The worker enforces the limit; this is the backstop, and the attempt counts."""
    job = run_one(db, timeout="1 min")
    db.execute("update pgqueue.running set deadline_at = clock_timestamp() - interval '29 s'")
    within = value(db, "select pgqueue.rescue()")
    db.execute("update pgqueue.running set deadline_at = clock_timestamp() - interval '31 s'")
    after = value(db, "select pgqueue.rescue()")

    assert (within, after, status(db, job.job_id)) == (0, 1, "queued")
    assert row(db, "select outcome, error ->> 'code' from pgqueue.attempts") == (
        "timed_out",
        "deadline_passed",
    )
    assert claim_one(db).attempt == 2


def test_a_rescue_leaves_the_living_alone(db: Db) -> None:
    """Only the jobs of the worker whose lease ended go back; a second rescue finds nothing."""
    dead, alive = worker(db), worker(db)
    lost = claim_this(db, insert(db), dead)
    kept = claim_this(db, insert(db), alive)
    worker_dies(db, dead)
    rescued = [value(db, "select pgqueue.rescue()") for _ in range(2)]

    assert rescued == [1, 0]
    assert (status(db, lost.job_id), status(db, kept.job_id)) == ("queued", "running")
    assert column(
        db, "select id from pgqueue.workers where dead_at is not null and rescued_at is not null"
    ) == [dead]


def test_a_rescue_is_bounded_and_goes_on(db: Db) -> None:
    """A mass redelivery comes in portions; the dead worker is forgotten only after the last."""
    by = worker(db)
    for _ in range(5):
        claim_this(db, insert(db), by)
    worker_dies(db, by)
    rescued = [value(db, "select pgqueue.rescue(2)") for _ in range(4)]

    assert rescued == [2, 2, 1, 0]


def test_stopping_a_worker_releases_what_it_runs(db: Db) -> None:
    """No attempt is used up; repeating it is harmless; it may not register again."""
    by = worker(db)
    job = claim_this(db, insert(db, max_attempts=1), by)
    released = [value(db, "select pgqueue.stop_worker(%s)", by) for _ in range(2)]

    assert released == [1, 0]
    assert status(db, job.job_id) == "queued"
    assert claim_one(db).attempt == 1


def test_the_heartbeat_tells_which_jobs_to_stop(db: Db) -> None:
    """With their tokens, so that a job that was claimed anew is not stopped by mistake."""
    by = worker(db)
    wanted, other = (claim_this(db, insert(db), by) for _ in range(2))
    db.execute("select pgqueue.cancel(%s)", (wanted.job_id,))
    found = row(db, "select cancel_job_ids, cancel_tokens from pgqueue.heartbeat(%s)", by)

    assert found == ([wanted.job_id], [wanted.token])
    assert status(db, other.job_id) == "running"


def test_a_heartbeat_renews_the_lease(db: Db) -> None:
    """By the worker's own lease, counted from the database's clock."""
    by = worker(db, lease="10 s")
    db.execute("update pgqueue.workers set heartbeat_at = heartbeat_at - interval '9 s'")
    until = value(db, "select lease_until from pgqueue.heartbeat(%s)", by)

    assert value(
        db, "select %s - clock_timestamp() between interval '9 s' and interval '10 s'", until
    )
    assert value(db, "select pgqueue.rescue()") == 0
