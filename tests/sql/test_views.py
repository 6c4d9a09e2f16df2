"""The views of jobs: what they say about a job in each status, and in which types they say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg.rows import dict_row

from tests.support.sqljobs import (
    STATUSES,
    claim_this,
    column,
    insert,
    job_in,
    place,
    row,
    run_one,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.sqljobs import Db

# What Npgsql and EF map without configuration: no domains, enums, composites, bare numeric.
_PLAIN_TYPES = {
    "bigint",
    "integer",
    "smallint",
    "real",
    "double precision",
    "boolean",
    "text",
    "text[]",
    "interval",
    "uuid",
    "jsonb",
    "timestamp with time zone",
}


def _status(db: Db, job_id: UUID) -> dict[str, Any]:
    with db.cursor(row_factory=dict_row) as cursor:
        cursor.execute("select * from pgqueue.job_status where id = %s", (job_id,))
        found = cursor.fetchone()
    assert found is not None
    return found


@pytest.mark.parametrize("wanted", STATUSES)
def test_job_status_derives_each_status(db: Db, wanted: str) -> None:
    """From the table that holds the job, and nothing else."""
    job = job_in(db, wanted)

    assert _status(db, job.job_id)["status"] == wanted


def test_every_column_of_a_view_has_a_plain_type(db: Db) -> None:
    """Each numeric has a precision: a bare one has no mapping that keeps its scale."""
    found = db.execute(
        "select c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod)"
        " from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " where c.relnamespace = 'pgqueue'::regnamespace and c.relkind = 'v' and a.attnum > 0"
    ).fetchall()
    # An array of ids goes into the inbox; the view shows no rows.
    plain = {*_PLAIN_TYPES, "uuid[]"}
    odd = {name: of for name, of in found if of not in plain}

    assert {name for name, of in odd.items() if not of.startswith("numeric(")} == set()


def test_job_status_of_a_queued_job(db: Db) -> None:
    """What was asked, the queue and attempts in force, and how long it has waited."""
    db.execute("select pgqueue.set_job_type('mail', p_queue => 'post', p_max_attempts => 7)")
    job_id = insert(db, "mail", priority=0, idempotency_key="i", unique_key="u", tenant_id="x")
    found = _status(db, job_id)
    wanted = {
        "job_type": "mail",
        "queue": "post",
        "status": "queued",
        "priority": 0,
        "progress": 0,
        "attempt": 0,
        "max_attempts": 7,
        "errors": [],
        "idempotency_key": "i",
        "unique_key": "u",
        "tenant_id": "x",
        "created": [],
        "attempts": [],
        "run_seconds": None,
        "worker": None,
    }

    assert {name: found[name] for name in wanted} == wanted
    assert found["wait_seconds"] >= 0
    assert found["run_at"] == found["created_at"]


def test_job_status_of_a_running_job(db: Db) -> None:
    """Its worker, attempt, progress, and the wish to stop it."""
    by = worker(db, name="runner")
    job_id = insert(db, max_attempts=2)
    job = claim_this(db, job_id, by)
    db.execute("select pgqueue.progress(%s, %s, 40, 'half way')", job.owned)
    db.execute("select pgqueue.cancel(%s, 'no longer wanted')", (job_id,))
    found = _status(db, job_id)
    wanted = {
        "status": "running",
        "progress": 40,
        "progress_message": "half way",
        "attempt": 1,
        "max_attempts": 2,
        "worker_id": by,
        "worker": "runner",
        "reason": "no longer wanted",
    }

    assert {name: found[name] for name in wanted} == wanted
    assert found["cancel_requested_at"] is not None
    assert found["run_seconds"] >= 0
    assert found["finished_at"] is None


def test_job_status_of_a_partial_job(db: Db) -> None:
    """Result, errors, metrics, what it created; progress is 100 though the handler said 80."""
    job = run_one(db, unique_key="u")
    db.execute("select pgqueue.progress(%s, %s, 80)", job.owned)
    db.execute(
        """select pgqueue.complete(%s, %s, '{"n": 1}', 'https://x/y', '[{"code": "c"}]',
           '{"items_processed": 3}', '[["Order", "7"], ["Invoice", "9"]]')""",
        job.owned,
    )
    found = _status(db, job.job_id)
    wanted = {
        "status": "partial",
        "progress": 100,
        "result": {"n": 1},
        "result_url": "https://x/y",
        "errors": [{"code": "c"}],
        "metrics": {"items_processed": 3},
        "unique_key": "u",
        "created": [
            {"entity_type": "Invoice", "entity_id": "9"},
            {"entity_type": "Order", "entity_id": "7"},
        ],
    }

    assert {name: found[name] for name in wanted} == wanted
    assert found["finished_at"] >= found["started_at"] >= found["ready_at"]


def test_job_status_lists_earlier_attempts_oldest_first(db: Db) -> None:
    """Each with its outcome and error; the finish that a retry undid is one of them."""
    first = run_one(db, max_attempts=2)
    db.execute('select pgqueue.fail(%s, %s, \'{"code": "a"}\')', first.owned)
    db.execute("select pgqueue.retry(%s)", (first.job_id,))
    second = claim_this(db, first.job_id)
    db.execute('select pgqueue.fail(%s, %s, \'{"code": "b"}\')', second.owned)
    db.execute("select pgqueue.retry(%s)", (first.job_id,))
    found = _status(db, first.job_id)["attempts"]

    assert [(a["attempt"], a["outcome"], a["error"]["code"]) for a in found] == [
        (1, "retrying", "a"),
        (2, "redriven", "b"),
    ]


def test_job_status_of_a_retrying_job_tells_when_it_runs_again(db: Db) -> None:
    """run_at is the end of its backoff, not the time that was asked for."""
    job = job_in(db, "retrying")
    due = value(db, "select due_at from pgqueue.scheduled where job_id = %s", job.job_id)
    found = _status(db, job.job_id)

    assert (found["run_at"], found["reason"], found["attempt"]) == (due, "retry", 1)


def test_a_job_that_never_ran_has_no_timings(db: Db) -> None:
    """Null, not zero: a cancelled job would otherwise look like the fastest of all."""
    job_id = insert(db)
    db.execute("select pgqueue.cancel(%s)", (job_id,))
    found = _status(db, job_id)

    assert (found["status"], found["wait_seconds"], found["run_seconds"]) == (
        "cancelled",
        None,
        None,
    )


def test_job_status_shows_neither_payload_nor_headers(db: Db) -> None:
    """Who may see how a job fares need not see what is in it."""
    insert(db, payload={"secret": 1}, headers={"trace": "t"})
    found = db.execute("select * from pgqueue.job_status")

    assert found.description is not None
    assert not {"payload", "headers"} & {one.name for one in found.description}


def test_job_timeline_tells_the_story_in_order(db: Db) -> None:
    """Created, an attempt lost, one that failed, a retry, and success."""
    by = worker(db, name="unlucky")
    job_id = insert(db)
    claim_this(db, job_id, by)
    worker_dies(db, by)
    db.execute("select pgqueue.rescue()")
    second = claim_this(db, job_id)
    db.execute(
        """select pgqueue.fail(%s, %s, '{"code": "c", "message": "m"}', false)""", second.owned
    )
    db.execute("select pgqueue.retry(%s)", (job_id,))
    third = claim_this(db, job_id)
    db.execute("select pgqueue.complete(%s, %s)", third.owned)
    found = db.execute(
        "select event, attempt, worker, detail from pgqueue.job_timeline"
        " where job_id = %s order by at",
        (job_id,),
    ).fetchall()

    assert found == [
        ("created", None, None, f"by {value(db, 'select session_user')}"),
        ("started", 1, "unlucky", None),
        ("lost", 1, "unlucky", f"worker_lost: worker {by} died"),
        ("started", 2, "w", None),
        ("failed", 2, "w", "c: m: retried later"),
        ("started", 1, "w", None),
        ("succeeded", 1, "w", None),
    ]


@pytest.mark.parametrize(
    ("wanted", "event"),
    [("queued", "queued"), ("scheduled", "due"), ("blocked", "blocked"), ("running", "started")],
)
def test_job_timeline_ends_with_what_is_now(db: Db, wanted: str, event: str) -> None:
    """An unfinished job's last row says what it waits for, or that it runs."""
    job = job_in(db, wanted)
    found = column(
        db, "select event from pgqueue.job_timeline where job_id = %s order by at", job.job_id
    )

    assert found == ["created", event]


def test_running_jobs_shows_whether_the_worker_lives(db: Db) -> None:
    """Before anybody has declared it dead: the lease alone decides."""
    by = worker(db, name="frail")
    job = claim_this(db, insert(db, timeout="1 hour"), by)
    query = (
        "select worker, attempt, worker_alive, deadline_at > now(), cancel_requested_at,"
        " heartbeat_seconds > 3600 from pgqueue.running_jobs where id = %s"
    )
    before = row(db, query, job.job_id)
    worker_dies(db, by)

    assert before == ("frail", 1, True, True, None, False)
    assert row(db, query, job.job_id) == ("frail", 1, False, True, None, True)


def test_failed_jobs_shows_the_error_that_ended_it(db: Db) -> None:
    """The last of its errors; item errors come before it."""
    job = run_one(db, unique_key="u", tenant_id="x")
    db.execute(
        """select pgqueue.fail(%s, %s, '{"code": "last", "message": "why"}', false, null,
           '[{"code": "item"}]', '{"items_processed": 1}')""",
        job.owned,
    )
    job_in(db, "succeeded")
    found = row(
        db,
        "select id, error_code, error_message, error_count, attempts, metrics, unique_key,"
        " tenant_id from pgqueue.failed_jobs",
    )

    assert found == (job.job_id, "last", "why", 2, 1, {"items_processed": 1}, "u", "x")


def test_a_redriven_job_is_no_dead_letter(db: Db) -> None:
    """What the view's comment tells to call takes the job out of it."""
    job = job_in(db, "failed")
    value(db, "select pgqueue.redrive()")

    assert column(db, "select id from pgqueue.failed_jobs") == []
    assert place(db, job.job_id) == "ready"


def test_unhandled_names_what_no_live_worker_takes(db: Db) -> None:
    """By type, by queue, and not when a worker of any type listens there."""
    insert(db, "known", queue="a")
    insert(db, "known", queue="b")
    insert(db, "misspelt", queue="a")
    insert(db, "later", queue="a", run_at="2100-01-01")
    insert(db, "anything", queue="c")
    db.execute("""select pgqueue.register_job_types('[{"job_type": "known"}]')""")
    worker(db, ["a"], job_types=["known"])
    worker(db, ["c"])
    found = db.execute(
        "select queue, job_type, waiting, waiting_capped, registered, workers_of_queue,"
        " workers_of_type from pgqueue.unhandled order by queue, job_type"
    ).fetchall()

    assert found == [
        ("a", "later", 1, False, False, 1, 1),
        ("a", "misspelt", 1, False, False, 1, 1),
        ("b", "known", 1, False, True, 0, 2),
    ]


def test_a_draining_worker_handles_nothing_more(db: Db) -> None:
    """It claims no more: what only it could take is unhandled."""
    by = worker(db)
    insert(db)
    before = value(db, "select count(*) from pgqueue.unhandled")
    db.execute("select pgqueue.drain_worker(%s)", (by,))

    assert (before, value(db, "select count(*) from pgqueue.unhandled")) == (0, 1)


def test_worker_status_follows_a_workers_life(db: Db) -> None:
    """alive, draining, dead by its lease alone, stopped."""
    steps = {
        "alive": "select {}",
        "draining": "select pgqueue.drain_worker({})",
        "dead": "update pgqueue.workers set heartbeat_at = heartbeat_at - lease where id = {}",
        "stopped": "select pgqueue.stop_worker({})",
    }
    by = worker(db)
    seen = []
    for step in steps.values():
        db.execute(step.format(by))
        seen.append(value(db, "select status from pgqueue.worker_status where id = %s", by))

    assert seen == list(steps)


def test_worker_status_counts_what_it_runs_and_finished(db: Db) -> None:
    """Failures are counted among the finished and by themselves."""
    by = worker(db)
    jobs = [claim_this(db, insert(db), by) for _ in range(4)]
    db.execute("select pgqueue.complete(%s, %s)", jobs[0].owned)
    db.execute("select pgqueue.fail(%s, %s, null, false)", jobs[1].owned)
    found = row(
        db,
        "select running, finished_5_minutes, failed_5_minutes, lease_left_seconds between 1 and 60"
        " from pgqueue.worker_status where id = %s",
        by,
    )

    assert found == (2, 2, 1, True)
