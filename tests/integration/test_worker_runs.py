"""What becomes of a job, by the way its handler runs and ends. The worker is in this process."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import make_conninfo

from pgqueue import Cancel, Fail, JobContext, Registry, Retry, Snooze
from tests.support import handlers
from tests.support.wait import eventually
from tests.support.workers import attempts, enqueue, reaches, status, work_off, working

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    Database = psycopg.Connection[Any]

KINDS = ["in_task", "in_thread", "in_process"]
WRITERS = ["write_in_task", "write_in_thread", "write_in_process"]
GATES = ["task_gate", "thread_gate", "process_gate", "transaction_gate"]


@pytest.fixture
def written(db: Database) -> Database:
    """The database with the table that transactional handlers write to."""
    db.execute("create table public.written (job_id uuid)")
    return db


def one(db: Database, query: str, *params: object) -> Any:
    """The only value of the only row."""
    rows = db.execute(query, params).fetchall()
    assert len(rows) == 1, rows
    return rows[0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_and_what_goes_with_it_is_stored(dsn: str, db: Database, kind: str) -> None:
    """Result, metrics, progress, created entities and follow-ups commit with the completion."""
    job_id = enqueue(db, kind, word="yes")

    work_off(handlers.jobs, dsn)

    result = one(db, "select result from pgqueue.finished where job_id = %s", job_id)
    metrics = one(db, "select metrics from pgqueue.finished where job_id = %s", job_id)
    created = one(db, "select entity_id from pgqueue.job_results where job_id = %s", job_id)
    followed = one(db, "select count(*) from pgqueue.finished where job_type = 'nothing'")
    assert (status(db, job_id), result["word"]) == ("succeeded", "yes")
    assert (metrics, created, followed) == ({"items_processed": 2}, "yes", 1)


def test_a_process_handler_runs_in_another_process(dsn: str, db: Database) -> None:
    """isolation="process" means a process that is not the worker's, used again for the next job."""
    for _ in range(3):
        enqueue(db, "in_process", word="x")

    work_off(handlers.jobs, dsn, concurrency=1)

    rows = db.execute("select result ->> 'pid' from pgqueue.finished where job_type = 'in_process'")
    pids = {int(row[0]) for row in rows}
    assert len(pids - {os.getpid()}) == 1


@pytest.mark.parametrize("kind", WRITERS)
def test_a_transactional_handler_commits_with_its_completion(
    dsn: str, written: Database, kind: str
) -> None:
    """The handler's row is there, once, and the job succeeded."""
    job_id = enqueue(written, kind)

    work_off(handlers.jobs, dsn)

    assert job_id == one(written, "select job_id from public.written")
    assert status(written, job_id) == "succeeded"


@pytest.mark.parametrize("kind", WRITERS)
def test_a_transactional_handler_that_fails_leaves_nothing(
    dsn: str, written: Database, kind: str
) -> None:
    """Its writes are rolled back; the attempt is recorded as retrying."""
    job_id = enqueue(written, kind, fail=True)
    written.execute("update pgqueue.settings set backoff_base = '1 hour', backoff_cap = '1 hour'")

    with working(handlers.jobs, dsn):
        reaches(written, job_id, "retrying")

    assert one(written, "select count(*) from public.written") == 0


def test_a_handler_that_raises_is_retried_and_then_succeeds(dsn: str, db: Database) -> None:
    """The first attempt is recorded with its error, the second finishes the job."""
    registry = Registry()

    @registry.job
    async def twice(ctx: JobContext) -> int:
        if ctx.attempt == 1:
            raise Retry(after=0)
        return ctx.attempt

    job_id = enqueue(db, "twice")

    with working(registry, dsn):
        reaches(db, job_id, "succeeded")

    assert attempts(db, job_id) == ["retrying"]
    assert one(db, "select result from pgqueue.finished where job_id = %s", job_id) == 2


def test_snoozing_does_not_use_up_an_attempt(dsn: str, db: Database) -> None:
    """A job with one attempt snoozes and then succeeds as attempt 1."""
    registry = Registry()
    seen: list[int] = []

    @registry.job(retries=0)
    async def sleepy(ctx: JobContext) -> None:
        seen.append(ctx.attempt)
        if len(seen) == 1:
            raise Snooze(0)

    job_id = enqueue(db, "sleepy")

    with working(registry, dsn):
        reaches(db, job_id, "succeeded")

    assert (seen, attempts(db, job_id)) == ([1, 1], ["snoozed"])


@pytest.mark.parametrize(
    ("raised", "ended", "code"),
    [
        (Fail("never", code="no_such_order"), "failed", "no_such_order"),
        (Cancel("not wanted any more"), "cancelled", None),
        (SystemExit(1), "failed", "SystemExit"),
        (asyncio.CancelledError(), "failed", "CancelledError"),
        (ValueError("wrong"), "failed", "ValueError"),
        (StopIteration(), "failed", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("kind", ["task", "thread"])
def test_what_a_handler_raises_decides_how_its_job_ends(
    dsn: str, db: Database, raised: BaseException, ended: str, code: str | None, kind: str
) -> None:
    """Fail and Cancel end the job at once; anything else fails it when no attempt is left."""
    registry = Registry()

    @registry.job(retries=0)
    async def task() -> None:
        raise raised

    @registry.job(retries=0)
    def thread() -> None:
        raise raised

    job_id = enqueue(db, kind)

    work_off(registry, dsn)

    errors = one(db, "select errors from pgqueue.finished where job_id = %s", job_id)
    assert ended == status(db, job_id)
    assert code is None or code == errors[-1]["code"]


def test_a_payload_that_does_not_fit_fails_its_job_alone(dsn: str, db: Database) -> None:
    """Without retries, naming the field; jobs claimed with it succeed."""
    wrong = enqueue(db, "in_task", word=7)
    undecodable = one(
        db,
        "insert into pgqueue.jobs (job_type, payload)"
        " values ('in_task', ('{\"word\": ' || repeat('9', 5000) || '}')::jsonb) returning id",
    )
    right = enqueue(db, "in_task", word="x")

    work_off(handlers.jobs, dsn)

    error = one(db, "select errors -> -1 from pgqueue.finished where job_id = %s", wrong)
    assert error["code"] == "payload_mismatch"
    assert "word" in error["message"]
    assert [status(db, job_id) for job_id in (wrong, undecodable, right)] == [
        "failed",
        "failed",
        "succeeded",
    ]
    assert attempts(db, wrong) + attempts(db, undecodable) == []


@pytest.mark.parametrize("result", [object(), float("nan"), "nul \0"], ids=["object", "nan", "nul"])
def test_a_result_that_json_cannot_hold_fails_its_job(
    dsn: str, db: Database, result: object
) -> None:
    """Without retries: the handler would return the same again."""
    registry = Registry()

    @registry.job
    async def odd() -> object:
        return result

    job_id = enqueue(db, "odd")

    work_off(registry, dsn)

    error = one(db, "select errors -> -1 from pgqueue.finished where job_id = %s", job_id)
    assert (status(db, job_id), error["code"]) == ("failed", "result_not_serializable")


@pytest.mark.parametrize("gate", GATES)
def test_a_handler_past_its_time_limit_fails(
    dsn: str, written: Database, tmp_path: Path, gate: str
) -> None:
    """Tasks are cancelled, processes killed, threads asked; the attempt fails with code timeout."""
    job_id = enqueue(written, gate, gate=str(tmp_path / "gate"))
    written.execute(
        "update pgqueue.jobs set timeout = '300 milliseconds', max_attempts = 1 where id = %s",
        (job_id,),
    )

    with working(handlers.jobs, dsn):
        reaches(written, job_id, "failed")

    error = one(written, "select errors -> -1 from pgqueue.finished where job_id = %s", job_id)
    assert error["code"] == "timeout"
    assert one(written, "select count(*) from public.written") == 0


def test_a_thread_that_ignores_its_time_limit_keeps_its_slot(
    dsn: str, db: Database, tmp_path: Path
) -> None:
    """Its job fails in time; the next one starts when the thread has really ended."""
    gate = tmp_path / "gate"
    stuck = enqueue(db, "deaf_gate", gate=str(gate))
    db.execute(
        "update pgqueue.jobs set timeout = '200 milliseconds', max_attempts = 1 where id = %s",
        (stuck,),
    )
    waiting = enqueue(db, "nothing")

    with working(handlers.jobs, dsn, concurrency=1):
        reaches(db, stuck, "failed")
        before = status(db, waiting)
        gate.touch()
        reaches(db, waiting, "succeeded")

    assert before == "queued"


def test_extending_the_time_limit_lets_the_handler_finish(dsn: str, db: Database) -> None:
    """The limit here and the deadline in the database both move."""
    registry = Registry()
    extended, go = threading.Event(), threading.Event()

    @registry.job(timeout=1.0)
    def slow(ctx: JobContext) -> None:
        ctx.extend(60)
        extended.set()
        go.wait(30)

    job_id = enqueue(db, "slow")

    with working(registry, dsn):
        assert extended.wait(20)
        eventually(
            lambda: one(
                db, "select deadline_at > now() + interval '30 seconds' from pgqueue.running"
            )
        )
        go.set()
        reaches(db, job_id, "succeeded")

    assert attempts(db, job_id) == []


@pytest.mark.parametrize("gate", GATES)
def test_a_running_job_is_cancelled(dsn: str, written: Database, tmp_path: Path, gate: str) -> None:
    """Its worker is notified and stops the handler at once, not at the next heartbeat."""
    job_id = enqueue(written, gate, gate=str(tmp_path / "gate"))

    with working(handlers.jobs, dsn, lease_seconds=200):
        eventually((tmp_path / "gate.started").exists)
        answer = one(written, "select pgqueue.cancel(%s, 'wrong file')", job_id)
        reaches(written, job_id, "cancelled", seconds=10)

    reason = one(written, "select reason from pgqueue.finished where job_id = %s", job_id)
    assert (answer, reason) == ("running", "wrong file")
    assert one(written, "select count(*) from public.written") == 0


def test_progress_is_visible_while_the_handler_runs(dsn: str, db: Database) -> None:
    """The latest word is in the view within about a second."""
    registry = Registry()
    go = threading.Event()

    @registry.job
    def slow(ctx: JobContext) -> None:
        for percent in range(43):
            ctx.progress(percent, f"row {percent}")
        go.wait(30)

    job_id = enqueue(db, "slow")

    with working(registry, dsn):
        eventually(
            lambda: db.execute(
                "select from pgqueue.running where progress = 42 and progress_message = 'row 42'"
            ).fetchall()
        )
        go.set()
        reaches(db, job_id, "succeeded")


def test_a_child_process_that_dies_fails_its_job(dsn: str, db: Database) -> None:
    """The error says how it ended; the worker goes on."""
    dead = enqueue(db, "die")
    fine = enqueue(db, "in_process", word="x")

    work_off(handlers.jobs, dsn)

    error = one(db, "select errors -> -1 from pgqueue.finished where job_id = %s", dead)
    assert (status(db, dead), error["code"]) == ("failed", "process_died")
    assert "exit status 3" in error["message"]
    assert status(db, fine) == "succeeded"


def test_a_transactional_run_that_lost_its_job_writes_nothing(
    dsn: str, written: Database, tmp_path: Path
) -> None:
    """The job was taken away while the handler ran: its transaction is rolled back."""
    gate = tmp_path / "gate"
    job_id = enqueue(written, "transaction_gate", gate=str(gate))

    with working(handlers.jobs, dsn):
        eventually((tmp_path / "gate.started").exists)
        token = one(written, "select token from pgqueue.running where job_id = %s", job_id)
        written.execute("select pgqueue.snooze(%s, %s, '1 hour')", (job_id, token))
        gate.touch()
        eventually(
            lambda: (
                one(
                    written,
                    "select count(*) from pg_stat_activity"
                    " where application_name like 'pgqueue handler%%' and state <> 'idle'"
                    " and datname = current_database()",
                )
                == 0
            )
        )

    assert (
        status(written, job_id),
        one(written, "select count(*) from public.written"),
    ) == ("scheduled", 0)


def test_a_worker_needs_no_more_than_its_role(dsn: str, db: Database) -> None:
    """A login that is only pgqueue_worker runs jobs, progress and follow-ups included."""
    db.execute("drop role if exists pgqueue_test_worker")
    db.execute("create role pgqueue_test_worker login password 'x' in role pgqueue_worker")
    job_id = enqueue(db, "in_thread", word="x")

    work_off(handlers.jobs, make_conninfo(dsn, user="pgqueue_test_worker", password="x"))
    done = status(db, job_id)
    db.execute("drop role pgqueue_test_worker")

    assert done == "succeeded"


def test_no_more_jobs_run_at_once_than_allowed(dsn: str, db: Database) -> None:
    """With concurrency 3, three of ten jobs run at once, never four."""
    registry = Registry()
    lock, now, most = threading.Lock(), [0], [0]
    three = threading.Barrier(3)

    @registry.job
    def count(n: int) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        if n < 3:
            three.wait(20)
        with lock:
            now[0] -= 1

    for n in range(10):
        enqueue(db, "count", n=n)

    work_off(registry, dsn, concurrency=3)

    assert most[0] == 3
    assert one(db, "select count(*) from pgqueue.finished where status = 'succeeded'") == 10
