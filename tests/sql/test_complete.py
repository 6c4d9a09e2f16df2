"""complete(): one job, by its token, in the caller's transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import (
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
    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_COMPLETE = "select pgqueue.complete(%s, %s)"


def test_completing_stores_what_the_handler_returned(db: Db) -> None:
    """Result, URL, metrics and progress are in the finished row."""
    job = run_one(db)
    db.execute("select pgqueue.progress(%s, %s, 40, 'so far')", job.owned)
    found = value(
        db,
        """select pgqueue.complete(%s, %s, '{"a": [1, null]}', 'https://example.com/r', null,
            '{"items": 3}')""",
        *job.owned,
    )

    assert found == "succeeded"
    assert row(
        db,
        """select status, result, result_url, errors, metrics, progress, progress_message
           from pgqueue.finished where job_id = %s""",
        job.job_id,
    ) == ("succeeded", {"a": [1, None]}, "https://example.com/r", None, {"items": 3}, 40, "so far")


def test_errors_make_a_completion_partial(db: Db) -> None:
    """An empty array does not."""
    some, none = run_one(db), run_one(db)
    errors = json.dumps([{"code": "bad_row", "item": "17"}])
    call = "select pgqueue.complete(%s, %s, p_errors => %s)"

    assert value(db, call, *some.owned, errors) == "partial"
    assert value(db, call, *none.owned, "[]") == "succeeded"


def test_repeating_a_completion_is_harmless(db: Db) -> None:
    """The reply to the first was lost: the second reports the same status and changes nothing."""
    job = run_one(db)
    call = "select pgqueue.complete(%s, %s, %s)"
    answers = [value(db, call, *job.owned, result) for result in ("1", "2")]

    assert answers == ["succeeded", "succeeded"]
    assert value(db, "select result from pgqueue.finished") == 1
    assert value(db, "select sum(jobs) from pgqueue.stats_log") == 1


@pytest.mark.parametrize("token", ["older", "newer", "none"])
def test_a_stale_token_changes_nothing(db: Db, token: str) -> None:
    """PQ001, the job stays with its owner."""
    job = run_one(db)
    given = {"older": job.token - 1, "newer": job.token + 1, "none": None}[token]
    with refused("PQ001"):
        db.execute(_COMPLETE, (job.job_id, given))

    assert place(db, job.job_id) == "running"
    db.execute(_COMPLETE, job.owned)


def test_a_zombie_cannot_say_anything_about_its_old_job(db: Db) -> None:
    """Its job was taken back and runs elsewhere: every call is PQ001, its heir is unharmed."""
    dead = worker(db)
    insert(db)
    zombie = claim_one(db, dead)
    worker_dies(db, dead)
    db.execute("select pgqueue.rescue()")
    heir = claim_one(db)
    for call in (
        "complete(%s, %s)",
        "fail(%s, %s)",
        "snooze(%s, %s, '1 s')",
        "release(%s, %s)",
        "cancel_running(%s, %s)",
        "progress(%s, %s, 10)",
        "extend(%s, %s, '1 s')",
    ):
        with refused("PQ001"):
            db.execute(f"select pgqueue.{call}", zombie.owned)

    assert (heir.job_id, heir.attempt) == (zombie.job_id, 2)
    assert value(db, _COMPLETE, *heir.owned) == "succeeded"
    assert column(db, "select outcome from pgqueue.attempts") == ["lost"]
    assert value(db, "select pgqueue.settle(%s, %s)", *zombie.owned) == "lost"


@pytest.mark.parametrize("how", ["lost", "timed_out"])
def test_a_zombie_whose_last_attempt_was_taken_cannot_complete(db: Db, how: str) -> None:
    """The rescue failed the job under the zombie's own token: that is not its completion."""
    by = worker(db)
    job = claim_this(db, insert(db, max_attempts=1, timeout="1 ms"), by)
    db.execute("select pgqueue.set_settings(p_timeout_grace => '0')")
    if how == "lost":
        worker_dies(db, by)
        db.execute("update pgqueue.running set deadline_at = null")
    else:
        db.execute("update pgqueue.running set deadline_at = clock_timestamp() - interval '1 s'")
    rescued = value(db, "select pgqueue.rescue()")
    for call in ("complete(%s, %s)", "fail(%s, %s)", "cancel_running(%s, %s)", "release(%s, %s)"):
        with refused("PQ001"):
            db.execute(f"select pgqueue.{call}", job.owned)

    assert (rescued, status(db, job.job_id)) == (1, "failed")
    assert value(db, "select pgqueue.settle(%s, %s)", *job.owned) == "lost"


def test_a_late_completion_is_accepted_while_nobody_has_taken_the_job(db: Db) -> None:
    """The lease has ended, the fence is still the highest: the work is not thrown away."""
    by = worker(db)
    job = claim_this(db, insert(db), by)
    worker_dies(db, by)

    assert value(db, _COMPLETE, *job.owned) == "succeeded"


def test_the_handlers_writes_and_the_completion_commit_together(connect: Connect, db: Db) -> None:
    """The exactly-once path: rolled back together, committed together."""
    db.execute("create table ledger (job_id uuid)")
    job = run_one(db)
    handler = connect(autocommit=False)
    handler.execute("insert into ledger values (%s)", (job.job_id,))
    handler.execute(_COMPLETE, job.owned)
    handler.rollback()
    after_rollback = (place(db, job.job_id), value(db, "select count(*) from ledger"))
    handler.execute("insert into ledger values (%s)", (job.job_id,))
    handler.execute(_COMPLETE, job.owned)
    handler.commit()

    assert after_rollback == ("running", 0)
    assert (place(db, job.job_id), value(db, "select count(*) from ledger")) == ("finished", 1)


def test_a_lost_lease_undoes_the_handlers_writes(connect: Connect, db: Db) -> None:
    """PQ001 aborts the transaction: what a zombie wrote through it never happened."""
    db.execute("create table ledger (job_id uuid)")
    job = run_one(db)
    zombie = connect(autocommit=False)
    zombie.execute("insert into ledger values (%s)", (job.job_id,))
    db.execute("select pgqueue.release(%s, %s)", job.owned)
    with refused("PQ001"):
        zombie.execute(_COMPLETE, job.owned)
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        zombie.execute("select 1")
    zombie.rollback()

    assert value(db, "select count(*) from ledger") == 0


def test_created_entities_are_stored_once(db: Db) -> None:
    """Duplicates within one completion are one row."""
    job = run_one(db)
    pairs = [["Order", "1"], ["Order", "2"], ["Order", "1"], ["Invoice", 1]]
    db.execute("select pgqueue.complete(%s, %s, p_created => %s)", (*job.owned, json.dumps(pairs)))

    assert db.execute(
        "select entity_type, entity_id from pgqueue.job_results where job_id = %s order by 1, 2",
        (job.job_id,),
    ).fetchall() == [("Invoice", "1"), ("Order", "1"), ("Order", "2")]


def test_follow_ups_are_enqueued_with_the_completion(db: Db) -> None:
    """They inherit the tenant; a follow-up that is refused refuses the completion."""
    job = run_one(db, tenant_id="acme")
    call = "select pgqueue.complete(%s, %s, p_follow_ups => %s)"
    with refused("PQ006"):
        db.execute(call, (*job.owned, json.dumps([{"job_type": "next", "nonsense": 1}])))
    between = place(db, job.job_id)
    db.execute(call, (*job.owned, json.dumps([{"job_type": "next", "payload": {"n": 1}}])))

    assert between == "running"
    assert row(db, "select payload, tenant_id from pgqueue.jobs where job_type = 'next'") == (
        {"n": 1},
        "acme",
    )


@pytest.mark.parametrize(
    "argument",
    [
        "p_errors => '{}'",
        "p_metrics => '[]'",
        "p_created => '1'",
        "p_follow_ups => '{}'",
        "p_result_url => repeat('x', 2001)",
        "p_result => jsonb_build_object('a', repeat('x', 17000000) || random())",
    ],
)
def test_a_completion_that_makes_no_sense_is_refused(db: Db, argument: str) -> None:
    """PQ006; the attempt is still running and can say something else."""
    job = run_one(db)
    if "17000000" in argument:  # stored in little space: it is the size in memory that counts
        argument = argument.replace("repeat('x', 17000000)", "string_agg(md5(n::text), '')")
        query = f"select pgqueue.complete(%s, %s, {argument}) from generate_series(1, 600000) n"
    else:
        query = f"select pgqueue.complete(%s, %s, {argument})"
    with refused("PQ006"):
        db.execute(query, job.owned)

    assert place(db, job.job_id) == "running"
    db.execute("select pgqueue.release(%s, %s)", job.owned)


def test_a_completion_wins_over_a_requested_cancel(db: Db) -> None:
    """The work is done: saying otherwise would be a lie."""
    job = run_one(db)
    db.execute("select pgqueue.cancel(%s)", (job.job_id,))

    assert value(db, _COMPLETE, *job.owned) == "succeeded"


def test_settle_says_what_became_of_an_attempt(db: Db) -> None:
    """After a lost reply a worker asks instead of guessing."""
    finished, running, ended, failed = (run_one(db) for _ in range(4))
    db.execute(_COMPLETE, finished.owned)
    db.execute("select pgqueue.snooze(%s, %s, '1 day')", ended.owned)
    db.execute("select pgqueue.fail(%s, %s, null, false)", failed.owned)
    found = [
        value(db, "select pgqueue.settle(%s, %s)", *job.owned)
        for job in (finished, running, ended, failed)
    ]

    assert found == ["finished", "running", "ended", "finished"]
    assert value(db, "select pgqueue.settle(%s, %s)", running.job_id, running.token + 1) == "lost"


def test_completing_gives_the_unique_key_back(db: Db) -> None:
    """The next job with the key may be inserted; the record keeps it."""
    job = run_one(db, unique_key="k")
    with refused("23505", constraint="jobs_unique_key"):
        insert(db, unique_key="k")
    db.execute(_COMPLETE, job.owned)
    insert(db, unique_key="k")

    assert value(db, "select unique_key from pgqueue.finished where job_id = %s", job.job_id) == "k"
