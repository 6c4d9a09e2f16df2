"""What operators do: cancel, retry, redrive, reschedule, reprioritise, purge, pause, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import (
    claim,
    claim_one,
    claim_this,
    column,
    insert,
    insert_many,
    job_in,
    place,
    refused,
    row,
    run_one,
    status,
    value,
    worker,
)

if TYPE_CHECKING:
    from tests.support.sqljobs import Db


def test_a_waiting_job_is_cancelled_at_once(db: Db) -> None:
    """Wherever it waits; the reason is kept, and repeating says the same."""
    for wanted in ("queued", "scheduled", "retrying", "blocked"):
        job = job_in(db, wanted)
        answers = [value(db, "select pgqueue.cancel(%s, 'why')", job.job_id) for _ in range(2)]

        assert answers == ["cancelled", "cancelled"]
        assert row(
            db, "select status, reason from pgqueue.finished where job_id = %s", job.job_id
        ) == ("cancelled", "why")


def test_a_running_job_is_asked_to_stop_and_its_worker_told(db: Db) -> None:
    """A NOTIFY names the worker, never the job; the first reason and time are kept."""
    db.execute("listen pgqueue")
    by = worker(db)
    job = claim_this(db, insert(db), by)
    answers = [value(db, "select pgqueue.cancel(%s, 'why')", job.job_id) for _ in range(2)]
    heard = {n.payload for n in db.notifies(timeout=5, stop_after=1)}

    assert answers == ["running", "running"]
    assert heard == {f"cancel {by}"}
    assert row(
        db, "select cancel_reason, cancel_requested_at is not null from pgqueue.running"
    ) == ("why", True)


def test_cancelling_a_holder_lets_its_follow_up_go(db: Db) -> None:
    """The follow-up takes over the unique key and runs."""
    follow_up = job_in(db, "blocked").job_id
    holder = value(db, "select waits_for from pgqueue.blocked")
    token = value(db, "select token from pgqueue.running")
    key = value(db, "select unique_key from pgqueue.jobs where id = %s", holder)
    db.execute("select pgqueue.cancel_running(%s, %s)", (holder, token))

    assert status(db, follow_up) == "queued"
    assert value(db, "select unique_key from pgqueue.jobs where id = %s", follow_up) == key


def test_a_finished_job_starts_over_with_a_fresh_budget(db: Db) -> None:
    """Its old record becomes an attempt; the job may use all its attempts again."""
    job_id = insert(db, max_attempts=2)
    for expected in ("retrying", "failed"):
        job = claim_one(db)
        got = value(db, "select pgqueue.fail(%s, %s, p_retry_after => '0')", *job.owned)
        assert got == expected
    db.execute("select pgqueue.retry(%s)", (job_id,))
    again = claim_one(db)

    assert (again.job_id, again.attempt) == (job_id, 1)
    assert column(db, "select outcome from pgqueue.attempts order by token") == [
        "retrying",
        "redriven",
    ]
    assert value(db, "select error ->> 'status' from pgqueue.attempts order by token desc limit 1")


def test_retrying_takes_the_unique_key_back(db: Db) -> None:
    """Or is refused with PQ005 and changes nothing while another unfinished job holds it."""
    first = run_one(db, unique_key="k")
    db.execute("select pgqueue.fail(%s, %s, null, false)", first.owned)
    second = insert(db, unique_key="k")
    with refused("PQ005"):
        db.execute("select pgqueue.retry(%s)", (first.job_id,))
    between = status(db, first.job_id)
    db.execute("select pgqueue.cancel(%s)", (second,))
    db.execute("select pgqueue.retry(%s)", (first.job_id,))

    assert between == "failed"
    assert status(db, first.job_id) == "queued"
    assert value(db, "select unique_key from pgqueue.jobs where id = %s", first.job_id) == "k"


def test_an_expired_job_is_not_retried(db: Db) -> None:
    """PQ002: it must not start any more; its record stays."""
    job_id = insert(db, expires_at="2001-01-01")
    db.execute("select pgqueue.expire()")
    with refused("PQ002"):
        db.execute("select pgqueue.retry(%s)", (job_id,))

    assert status(db, job_id) == "cancelled"


def test_redrive_retries_failed_jobs_by_type_queue_and_time(db: Db) -> None:
    """Oldest first, up to the limit; jobs that succeeded or were cancelled stay."""
    for n in range(4):
        job = claim_this(db, insert(db, "a" if n % 2 else "b", queue=f"q{n // 2}"))
        db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    job_in(db, "succeeded")
    job_in(db, "cancelled")
    counts = [
        value(db, f"select pgqueue.redrive({arguments})")
        for arguments in (
            "p_since => now() + interval '1 hour'",
            "p_job_type => 'a', p_queue => 'q0'",
            "p_queue => 'q1', p_limit => 1",
            "",
            "",
        )
    ]

    assert counts == [0, 1, 1, 2, 0]
    assert column(db, "select job_type || queue from pgqueue.ready order by pos") == [
        "aq0",
        "bq1",
        "bq0",
        "aq1",
    ]


def test_redrive_leaves_what_it_may_not_retry(db: Db) -> None:
    """A taken key is no reason to fail the others."""
    for key in ("k", None):
        job = run_one(db, unique_key=key)
        db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    insert(db, unique_key="k")

    assert value(db, "select pgqueue.redrive()") == 1


def test_redrive_leaves_what_ran_in_a_queue_of_its_own(db: Db) -> None:
    """Nobody listens to the queue of `pgqueue run` any more; who names it means it."""
    queue = "run-0123456789abcdef"
    for name in (queue, "run-rates"):
        job = claim_this(db, insert(db, queue=name))
        db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    unnamed = value(db, "select pgqueue.redrive()")

    assert unnamed == 1
    assert value(db, f"select pgqueue.redrive(p_queue => '{queue}')") == 1


def test_redrive_steps_over_what_it_may_not_retry(db: Db) -> None:
    """An older job that cannot be retried does not use up the limit of a call."""
    for key in ("k", None):
        job = run_one(db, unique_key=key)
        db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    insert(db, unique_key="k")

    assert value(db, "select pgqueue.redrive(p_limit => 1)") == 1


def test_rescheduling_moves_a_job_in_time(db: Db) -> None:
    """NULL is now; a retry may be brought forward; infinity is refused."""
    retrying, queued = job_in(db, "retrying"), job_in(db, "queued")
    db.execute("select pgqueue.reschedule(%s, null)", (retrying.job_id,))
    db.execute("select pgqueue.reschedule(%s, '2100-01-01')", (queued.job_id,))
    with refused("23514", constraint="jobs_run_at_check"):
        db.execute("select pgqueue.reschedule(%s, 'infinity')", (queued.job_id,))

    assert status(db, retrying.job_id) == "queued"
    assert value(db, "select due_at = '2100-01-01' from pgqueue.scheduled") is True


def test_reprioritising_puts_a_job_at_the_end_of_its_new_priority(db: Db) -> None:
    """Ahead of lower ones, behind those that were there."""
    low = insert(db, "low", priority=3)
    insert(db, "normal")
    insert(db, "high", priority=0)
    db.execute("select pgqueue.reprioritise(%s, 0)", (low,))

    assert [job.job_type for job in claim(db, worker(db))] == ["high", "low", "normal"]


def test_an_unknown_priority_is_refused(db: Db) -> None:
    """PQ006; the job stays."""
    job_id = insert(db)
    for priority in (-1, 4, None):
        with refused("PQ006"):
            db.execute("select pgqueue.reprioritise(%s, %s)", (job_id, priority))

    assert value(db, "select priority from pgqueue.ready") == 1


def test_purging_a_queue_cancels_what_waits_there_in_portions(db: Db) -> None:
    """Ready, scheduled and blocked jobs; the running one and other queues go on."""
    running = claim_this(db, insert(db, queue="q", unique_key="k"))
    db.execute(
        """select pgqueue.enqueue('t', p_queue => 'q', p_unique_key => 'k',
            p_on_duplicate => 'replace')"""
    )
    insert_many(db, 5, queue="q")
    insert(db, queue="q", run_at="2100-01-01")
    other = insert(db, queue="other")
    counts = [value(db, "select pgqueue.purge_queue('q', 3)") for _ in range(4)]

    assert counts == [3, 3, 1, 0]
    assert (place(db, running.job_id), place(db, other)) == ("running", "ready")
    assert column(db, "select distinct reason from pgqueue.finished") == ["purged"]


def test_purging_a_holder_and_its_follow_up_purges_both(db: Db) -> None:
    """The holder waits for its retry; its follow-up comes free in the middle of the purge."""
    follow_up = job_in(db, "blocked").job_id
    holder, token = row(db, "select job_id, token from pgqueue.running")
    db.execute("select pgqueue.fail(%s, %s, p_retry_after => '1 day')", (holder, token))
    purged = value(db, "select pgqueue.purge_queue('default')")

    assert purged == 2
    assert (status(db, holder), status(db, follow_up)) == ("cancelled", "cancelled")


def test_a_pause_keeps_its_first_time_and_learns_a_reason(db: Db) -> None:
    """Pausing twice is harmless; resuming clears both."""
    for kind, table in (("queue", "queues"), ("job_type", "job_types")):
        db.execute(f"select pgqueue.pause_{kind}('x')")
        first = value(db, f"select paused_at from pgqueue.{table}")
        db.execute(f"select pgqueue.pause_{kind}('x', 'later')")
        paused = row(db, f"select paused_at, paused_reason from pgqueue.{table}")
        db.execute(f"select pgqueue.resume_{kind}('x')")

        assert paused == (first, "later")
        assert row(db, f"select paused_at, paused_reason from pgqueue.{table}") == (None, None)


def test_settings_that_are_not_named_stay(db: Db) -> None:
    """NULL leaves a setting as it is, for types and for the system."""
    db.execute("select pgqueue.set_settings(p_max_attempts => 9)")
    db.execute("select pgqueue.set_settings(p_retention => '1 day')")
    db.execute("select pgqueue.set_job_type('t', p_timeout => '5 s', p_description => 'd')")
    db.execute("select pgqueue.set_job_type('t', p_max_attempts => 3)")

    assert row(db, "select max_attempts, retention = '1 day' from pgqueue.settings") == (9, True)
    assert row(
        db, "select max_attempts, timeout = '5 s', description, enabled from pgqueue.job_types"
    ) == (3, True, "d", True)


def test_a_workers_declaration_does_not_overrule_an_operator(db: Db) -> None:
    """Until the operator gives the type back."""
    declare = """select pgqueue.register_job_types('[{"job_type": "t", "max_attempts": 2,
        "timeout_seconds": 1.5, "queue": "declared"}]')"""
    db.execute(declare)
    declared = row(db, "select max_attempts, timeout = '1.5 s', queue from pgqueue.job_types")
    db.execute("select pgqueue.set_job_type('t', p_max_attempts => 8)")
    db.execute(declare)
    managed = value(db, "select max_attempts from pgqueue.job_types")
    db.execute("select pgqueue.set_job_type('t', p_operator_managed => false)")
    db.execute(declare)

    assert declared == (2, True, "declared")
    assert (managed, value(db, "select max_attempts from pgqueue.job_types")) == (8, 2)


def test_an_unchanged_declaration_writes_nothing(db: Db) -> None:
    """Every worker declares its types at every start: 500 restarts are no 500 row versions."""
    declare = """select pgqueue.register_job_types('[{"job_type": "a"}, {"job_type": "b"}]')"""
    db.execute(declare)
    before = column(db, "select xmin::text from pgqueue.job_types order by job_type")
    db.execute(declare)

    assert column(db, "select xmin::text from pgqueue.job_types order by job_type") == before


def test_a_declaration_that_makes_no_sense_is_refused(db: Db) -> None:
    """Whole: no half of the types is registered."""
    for given, sqlstate in (
        ('[{"job_type": "a"}, {"max_attempts": 1}]', "23502"),
        ('[{"job_type": "a"}, {"job_type": "b", "max_attempts": 0}]', "23514"),
        ('[{"job_type": "a"}, {"job_type": "a"}]', "21000"),
        ('{"job_type": "a"}', "22023"),
    ):
        with refused(sqlstate):
            db.execute("select pgqueue.register_job_types(%s)", (given,))

    assert value(db, "select count(*) from pgqueue.job_types") == 0


def test_a_refused_operation_rolls_back_alone(db: Db) -> None:
    """Inside a caller's transaction a savepoint is enough to go on."""
    job = run_one(db)
    with db.transaction():
        insert(db, "kept")
        try:
            with db.transaction():
                db.execute("select pgqueue.retry(%s)", (job.job_id,))
        except psycopg.Error as error:
            assert error.sqlstate == "PQ002"  # noqa: PT017

    assert value(db, "select count(*) from pgqueue.ready") == 1


_NOTED = [
    ("select pgqueue.pause_queue('q')", "queue q"),
    ("select pgqueue.set_fairness('q')", "queue q"),
    ("select pgqueue.set_fairness('q', false)", "queue q"),
    ("select pgqueue.set_limit('queue', 'q', 1)", "queue q"),
    ("select pgqueue.set_limit('job_type', 'j', 1)", "job type j"),
    ("select pgqueue.set_limit('key', 'j', 1)", "job type j"),
    ("select pgqueue.pause_job_type('j')", "job type j"),
    ("select pgqueue.set_job_type('j', p_max_attempts => 3)", "job type j"),
]


@pytest.mark.parametrize(("call", "what"), _NOTED)
def test_a_queue_or_type_that_nothing_has_named_is_noted(db: Db, call: str, what: str) -> None:
    """A misspelt name would be taken in silence. No refusal: it comes with its first job."""
    heard: list[str] = []
    db.add_notice_handler(lambda notice: heard.append(str(notice.message_primary)))
    db.execute(call)

    assert heard == [f"{what} is not known yet: no job, job type or worker has named it"]


@pytest.mark.parametrize("known", ["a job", "a scheduled job", "a worker", "a finished job"])
@pytest.mark.parametrize(("call", "what"), _NOTED)
def test_a_queue_or_type_that_something_has_named_is_not(
    db: Db, known: str, call: str, what: str
) -> None:
    """Nor are limits of tenants, and of all types."""
    match known:
        case "a job":
            insert(db, "j", queue="q")
        case "a scheduled job":
            insert(db, "j", queue="q", run_at="2100-01-01")
        case "a worker":
            worker(db, ["q"])
            db.execute("""select pgqueue.register_job_types('[{"job_type": "j"}]')""")
        case _:
            job = claim_this(db, insert(db, "j", queue="q"))
            db.execute("select pgqueue.complete(%s, %s)", job.owned)
    heard: list[str] = []
    db.add_notice_handler(lambda notice: heard.append(str(notice.message_primary)))
    db.execute(call)
    db.execute("select pgqueue.set_limit('tenant', 'x', 1), pgqueue.set_limit('key', '*', 1)")

    assert heard == []
