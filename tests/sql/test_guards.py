"""UPDATE and DELETE of pgqueue.jobs: an allowed change moves the job, any other is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.sqljobs import (
    claim,
    claim_one,
    column,
    insert,
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


def _update(db: Db, job_id: object, change: str) -> None:
    db.execute(f"update pgqueue.jobs set {change} where id = %s", (job_id,))


def test_a_changed_payload_is_what_the_worker_gets(db: Db) -> None:
    """And the job goes to the end of its queue: a claim that saw the old row finds it gone."""
    first, _ = insert(db, "first"), insert(db, "second")
    _update(db, first, """payload = '{"n": 2}', headers = '{"h": 1}'""")
    found = [(job.job_type, job.payload, job.headers) for job in claim(db, worker(db))]

    assert found == [("second", "{}", None), ("first", '{"n": 2}', '{"h": 1}')]


def test_a_changed_run_at_moves_the_job_between_ready_and_scheduled(db: Db) -> None:
    """Both ways, and within scheduled."""
    job_id = insert(db)
    seen = []
    for run_at in ("'2100-01-01'", "'2100-02-02'", "'2001-01-01'", "'2100-01-01'", "null"):
        _update(db, job_id, f"run_at = {run_at}")
        seen.append(place(db, job_id))

    assert seen == ["scheduled", "scheduled", "ready", "scheduled", "ready"]


def test_a_changed_queue_or_priority_moves_the_job_there(db: Db) -> None:
    """In every table where it may wait; NULL is the type's queue."""
    db.execute("select pgqueue.set_job_type('t', p_queue => 'types')")
    for wanted, table in (("queued", "ready"), ("scheduled", "scheduled"), ("blocked", "blocked")):
        job_id = job_in(db, wanted).job_id
        seen = []
        for change in ("queue = 'own', priority = 3", "queue = null", "priority = 0"):
            _update(db, job_id, change)
            seen.append(
                row(db, f"select queue, priority from pgqueue.{table} where job_id = %s", job_id)
            )

        assert seen == [("own", 3), ("types", 3), ("types", 0)]


def test_a_changed_expiry_follows_the_job(db: Db) -> None:
    """In every table where it may wait."""
    for wanted, table in (("queued", "ready"), ("scheduled", "scheduled"), ("blocked", "blocked")):
        job_id = job_in(db, wanted).job_id
        _update(db, job_id, "expires_at = '2099-01-01'")

        assert value(
            db,
            f"select expires_at = '2099-01-01' from pgqueue.{table} where job_id = %s",
            job_id,
        )


def test_a_retrying_job_keeps_its_attempts_and_its_time_through_a_change(db: Db) -> None:
    """A new payload does not cut the backoff short, and the budget is not refilled."""
    job = job_in(db, "retrying")
    due = value(db, "select due_at from pgqueue.scheduled")
    _update(db, job.job_id, """payload = '{"n": 2}'""")
    unchanged = row(db, "select due_at = %s, reason, attempts from pgqueue.scheduled", due)
    _update(db, job.job_id, "run_at = '2001-01-01'")

    assert unchanged == (True, "retry", 1)
    assert claim_one(db).attempt == 2


def test_a_snoozed_job_that_is_given_a_time_waits_for_that(db: Db) -> None:
    """It is scheduled then, no longer snoozed."""
    job = run_one(db)
    db.execute("select pgqueue.snooze(%s, %s, '1 hour')", job.owned)
    before = value(db, "select reason from pgqueue.scheduled")
    _update(db, job.job_id, "run_at = '2100-01-01'")

    assert (before, value(db, "select reason from pgqueue.scheduled")) == ("snooze", "run_at")


def test_a_change_within_a_limit_is_checked_like_an_insert(db: Db) -> None:
    """The CHECKs hold for UPDATE too, and the job stays where it was."""
    job_id = insert(db)
    with refused("23514", constraint="jobs_payload_check"):
        _update(db, job_id, "payload = '[]'")
    with refused("23514", constraint="jobs_run_at_check"):
        _update(db, job_id, "run_at = 'infinity'")

    assert place(db, job_id) == "ready"


def test_one_update_may_move_many_jobs(db: Db) -> None:
    """Row by row, in one transaction; one that runs refuses them all."""
    for _ in range(5):
        insert(db, queue="a")
    db.execute("update pgqueue.jobs set queue = 'b'")
    moved = column(db, "select distinct queue from pgqueue.ready")
    by = worker(db, ["b"])
    claim(db, by, 1, queues=["b"])
    with refused("PQ002"):
        db.execute("update pgqueue.jobs set queue = 'c'")

    assert moved == ["b"]
    assert column(db, "select distinct queue from pgqueue.ready") == ["b"]


def test_deleting_a_finished_job_takes_all_of_it(db: Db) -> None:
    """Its attempts, results and record, and nothing of any other job."""
    kept = []
    for _ in range(2):
        job_id = insert(db)
        first = claim_one(db)
        db.execute("select pgqueue.fail(%s, %s, p_retry_after => '0')", first.owned)
        second = claim_one(db)
        db.execute(
            """select pgqueue.complete(%s, %s, p_created => '[["A", "1"], ["B", "1"]]')""",
            second.owned,
        )
        kept.append(job_id)
    db.execute("delete from pgqueue.jobs where id = %s", (kept.pop(0),))

    for table in ("finished", "attempts", "job_results"):
        assert column(db, f"select distinct job_id from pgqueue.{table}") == kept


def test_deleting_a_live_job_among_finished_ones_deletes_none(db: Db) -> None:
    """The statement is refused as a whole."""
    for wanted in ("succeeded", "failed", "queued"):
        job_in(db, wanted)
    with refused("PQ007"):
        db.execute("delete from pgqueue.jobs")

    assert value(db, "select count(*) from pgqueue.jobs") == 3
    assert value(db, "select count(*) from pgqueue.finished") == 2


def test_the_unique_key_of_a_job_cannot_be_changed_by_hand(db: Db) -> None:
    """Neither taken away, nor renamed, nor given to a job that has none: live or finished."""
    for wanted in ("queued", "running", "succeeded"):
        keyed = insert(db, unique_key=f"key of {wanted}") if wanted == "queued" else None
        plain = job_in(db, wanted)
        with refused("PQ007"):
            _update(db, plain.job_id, "unique_key = 'mine'")
        if keyed is not None:
            for change in ("unique_key = null", "unique_key = 'other'"):
                with refused("PQ007"):
                    _update(db, keyed, change)

    assert column(db, "select unique_key from pgqueue.jobs where unique_key is not null") == [
        "key of queued"
    ]


def test_an_update_that_changes_nothing_is_refused_like_one_that_does(db: Db) -> None:
    """An ORM that writes all columns back learns that the job has started."""
    job = run_one(db)
    with refused("PQ002"):
        _update(db, job.job_id, "payload = payload")

    assert status(db, job.job_id) == "running"
