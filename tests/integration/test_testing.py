"""pgqueue.testing against a real queue, and its fixtures in a pytest of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgqueue import ConfigurationError, InvalidArgument, JobContext, Registry, Retry, Snooze
from pgqueue.testing import assert_enqueued, drain, drain_async, enqueued, refute_enqueued

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Connect
    from tests.support.cluster import Cluster

jobs = Registry("tests")


@jobs.job
def hello(name: str) -> dict[str, str]:
    """Return something."""
    return {"greeting": f"hello {name}"}


@jobs.job
async def chain(ctx: JobContext, links: int) -> None:
    """Enqueue the next link."""
    ctx.progress(50, "half way")
    if links > 1:
        ctx.enqueue("chain", {"links": links - 1}, queue="links")


@jobs.job
def second_time(ctx: JobContext) -> None:
    """Ask for a second attempt an hour later, and for a third."""
    if ctx.attempt == 1:
        raise Retry(after=3600)


@jobs.job
def sleepy() -> None:
    """Never get done."""
    raise Snooze(60)


@jobs.job
def for_ever(ctx: JobContext) -> None:
    """Never end."""
    ctx.enqueue("for_ever")


@jobs.job
def loops() -> int:
    """Start a loop, as a sync handler may."""
    return asyncio.run(asyncio.sleep(0, 7))


@jobs.job(transactional=True)
def note(ctx: JobContext, text: str, *, fail: bool = False) -> None:
    """Write through the job's transaction."""
    ctx.connection.execute("insert into notes values (%s)", [text])
    if fail:
        raise ValueError


@jobs.job(transactional=True)
async def note_async(ctx: JobContext, text: str, *, fail: bool = False) -> None:
    """As note, in a coroutine."""
    await ctx.connection.execute("insert into notes values (%s)", [text])
    if fail:
        raise ValueError


@jobs.job(transactional=True)
def misdirect(ctx: JobContext) -> None:
    """Write, and enqueue what PostgreSQL refuses."""
    ctx.connection.execute("insert into notes values ('lost')")
    ctx.enqueue("x" * 101)


@pytest.fixture
def notes(db: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """A connection to a database with a table for notes."""
    db.execute("create table notes (text text)")
    return db


def enqueue(
    conn: psycopg.Connection[Any], job_type: str, payload: str = "{}", **columns: object
) -> None:
    """Enqueue as any producer does."""
    names = "".join(f", {name}" for name in columns)
    marks = ", %s" * len(columns)
    conn.execute(
        f"insert into pgqueue.jobs (job_type, payload{names}) values (%s, %s{marks})".encode(),
        [job_type, payload, *columns.values()],
    )


def status_of(conn: psycopg.Connection[Any]) -> list[Any]:
    """Status and result of every job."""
    rows = conn.execute("select status, result from pgqueue.job_status order by id")
    return rows.fetchall()


def test_drain_runs_what_is_ready_and_reports_it(db: psycopg.Connection[Any]) -> None:
    """The run and the view say the same."""
    enqueue(db, "hello", '{"name": "Ada"}')

    runs = drain(db, jobs)

    assert [(run.status, run.result) for run in runs] == [("succeeded", {"greeting": "hello Ada"})]
    assert status_of(db) == [("succeeded", {"greeting": "hello Ada"})]


def test_drain_takes_a_dsn(dsn: str, db: psycopg.Connection[Any]) -> None:
    """Then the connection is its own."""
    enqueue(db, "hello", '{"name": "Ada"}')

    assert [run.status for run in drain(dsn, jobs)] == ["succeeded"]


def test_drain_goes_on_with_what_the_jobs_enqueue(db: psycopg.Connection[Any]) -> None:
    """In whatever queue."""
    enqueue(db, "chain", '{"links": 3}')

    assert [run.status for run in drain(db, jobs)] == ["succeeded"] * 3


def test_drain_can_stop_at_what_was_ready_before(db: psycopg.Connection[Any]) -> None:
    """Then follow-ups wait."""
    enqueue(db, "chain", '{"links": 3}')

    assert len(drain(db, jobs, until_empty=False)) == 1
    assert_enqueued(db, "chain", payload={"links": 2}, queue="links", count=1)


def test_drain_takes_only_the_queues_that_it_is_given(db: psycopg.Connection[Any]) -> None:
    """The others stay."""
    enqueue(db, "hello", '{"name": "Ada"}', queue="a")
    enqueue(db, "hello", '{"name": "Bob"}', queue="b")

    assert [run.result["greeting"] for run in drain(db, jobs, queues=["b"])] == ["hello Bob"]
    assert_enqueued(db, "hello", queue="a", count=1)


def test_drain_stops_at_its_limit(db: psycopg.Connection[Any]) -> None:
    """And leaves the rest."""
    enqueue(db, "for_ever")

    assert len(drain(db, jobs, limit=5)) == 5
    assert_enqueued(db, "for_ever", count=1)


def test_drain_without_a_limit_does_not_go_on_for_ever(
    db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that it has claimed too many goes back."""
    monkeypatch.setattr("pgqueue.testing.draining.RUNS_MAX", 10)
    enqueue(db, "for_ever")

    with pytest.raises(ConfigurationError, match="does one of them enqueue itself"):
        drain(db, jobs)
    assert_enqueued(db, "for_ever", count=1)


def test_what_is_not_due_waits_unless_it_is_advanced(db: psycopg.Connection[Any]) -> None:
    """Scheduled jobs and retries alike."""
    enqueue(db, "second_time", run_at="2999-01-01")

    assert drain(db, jobs) == []
    assert [run.status for run in drain(db, jobs, advance=True)] == ["retrying", "succeeded"]


def test_a_snooze_is_reported_as_one(db: psycopg.Connection[Any]) -> None:
    """The job is scheduled again."""
    enqueue(db, "sleepy")

    assert [run.status for run in drain(db, jobs)] == ["snoozed"]
    assert status_of(db) == [("scheduled", None)]


def test_jobs_without_a_handler_are_left_alone(db: psycopg.Connection[Any]) -> None:
    """They belong to another worker."""
    enqueue(db, "unknown")

    assert drain(db, jobs) == []
    assert_enqueued(db, "unknown")


def test_a_sync_handler_may_start_a_loop(db: psycopg.Connection[Any]) -> None:
    """It runs in a thread, as in a worker."""
    enqueue(db, "loops")

    assert [run.result for run in drain(db, jobs)] == [7]


@pytest.mark.parametrize("job_type", ["note", "note_async"])
def test_what_a_transactional_handler_writes_commits_with_the_completion(
    notes: psycopg.Connection[Any], job_type: str
) -> None:
    """And is rolled back when it raises."""
    enqueue(notes, job_type, '{"text": "kept"}')
    enqueue(notes, job_type, '{"text": "dropped", "fail": true}', max_attempts=1)

    assert [run.status for run in drain(notes, jobs)] == ["succeeded", "failed"]
    assert notes.execute("select text from notes").fetchall() == [("kept",)]


def test_what_postgresql_refuses_of_a_transactional_handler_is_not_retried(
    notes: psycopg.Connection[Any],
) -> None:
    """As in a worker: rolled back, failed, code result_refused."""
    enqueue(notes, "misdirect")

    (run,) = drain(notes, jobs)

    assert (run.status, run.error and run.error.code) == ("failed", "result_refused")
    assert isinstance(run.exception, InvalidArgument)
    assert notes.execute("select text from notes").fetchall() == []


def test_drain_stores_where_a_handler_failed(notes: psycopg.Connection[Any]) -> None:
    """As a worker does."""
    enqueue(notes, "note", '{"text": "x", "fail": true}', max_attempts=1)

    drain(notes, jobs)
    row = notes.execute("select errors from pgqueue.job_status").fetchone()

    assert row is not None
    assert row[0][-1]["traceback"].splitlines()[0].endswith("in note")


def test_drain_inside_a_transaction_can_be_rolled_back_with_it(
    notes: psycopg.Connection[Any], connect: Connect
) -> None:
    """For suites that roll every test back."""
    conn = connect(autocommit=False)
    enqueue(conn, "note", '{"text": "never"}')
    enqueue(conn, "chain", '{"links": 2}')

    assert [run.status for run in drain(conn, jobs)] == ["succeeded"] * 3
    conn.rollback()
    assert notes.execute("select text from notes").fetchall() == []
    refute_enqueued(notes)


def test_an_async_transaction_inside_a_transaction_is_refused(connect: Connect) -> None:
    """It would not see its own claim."""
    conn = connect(autocommit=False)
    enqueue(conn, "note_async", '{"text": "never"}')

    with pytest.raises(ConfigurationError, match="async and transactional"):
        drain(conn, jobs)
    conn.rollback()


def test_in_a_coroutine_there_is_drain_async(db: psycopg.Connection[Any]) -> None:
    """With the same results."""
    enqueue(db, "hello", '{"name": "Ada"}')

    runs = asyncio.run(drain_async(db, jobs))

    assert [run.status for run in runs] == ["succeeded"]


def test_a_payload_that_python_refuses_fails_alone(db: psycopg.Connection[Any]) -> None:
    """As in a worker."""
    enqueue(db, "hello", f'{{"name": {"9" * 5000}}}')
    enqueue(db, "hello", '{"name": "Ada"}')

    assert [run.status for run in drain(db, jobs)] == ["failed", "succeeded"]


def test_assert_enqueued_sees_what_its_own_transaction_enqueued(connect: Connect) -> None:
    """And nobody else does."""
    conn = connect(autocommit=False)
    enqueue(conn, "hello", '{"name": "Ada", "tags": ["a", "b"]}')

    found = assert_enqueued(conn, "hello", payload={"tags": ["b"]}, queue="default", count=1)

    assert (found[0].status, found[0].payload["name"]) == ("queued", "Ada")
    refute_enqueued(connect(), "hello")
    conn.rollback()


def test_a_failed_assertion_says_what_is_there_instead(db: psycopg.Connection[Any]) -> None:
    """Jobs of the type with their payloads, others by number."""
    enqueue(db, "hello", '{"name": "Ada"}')
    enqueue(db, "other")

    with pytest.raises(AssertionError) as caught:
        assert_enqueued(db, "hello", payload={"name": "Bob"})

    assert str(caught.value).splitlines() == [
        'expected one or more of hello with {"name":"Bob"}, found 0. In the queue: ',
        '  hello in queue default, queued: {"name":"Ada"}',
        "  1 of other",
    ]


def test_refute_enqueued_fails_when_there_is_one(db: psycopg.Connection[Any]) -> None:
    """Whatever its payload."""
    enqueue(db, "hello")

    with pytest.raises(AssertionError, match="expected none of hello, found 1"):
        refute_enqueued(db, "hello")


def test_finished_jobs_are_listed_when_asked_for(dsn: str, db: psycopg.Connection[Any]) -> None:
    """Not otherwise."""
    enqueue(db, "hello", '{"name": "Ada"}')
    drain(db, jobs)

    assert enqueued(dsn) == []
    assert [job.status for job in enqueued(dsn, finished=True)] == ["succeeded"]


SUITE = """
import pytest
from pgqueue import job
from pgqueue.testing import assert_enqueued

@job
def greet(name: str) -> str:
    return f"hello {name}"

def enqueue(conn):
    conn.execute(
        "insert into pgqueue.jobs (job_type, payload) values (%s, %s)", ["greet", '{"name": "Ada"}']
    )

@pytest.mark.pgqueue(app="test_suite")
@pytest.mark.parametrize("time", [1, 2])
def test_each_test_has_a_database_of_its_own(pgqueue_db, pgqueue_drain, time):
    enqueue(pgqueue_db)
    assert_enqueued(pgqueue_db, "greet", count=1)
    assert [run.result for run in pgqueue_drain()] == ["hello Ada"]

def test_a_broken_queue_is_noticed(pgqueue_db):
    enqueue(pgqueue_db)
    pgqueue_db.execute("delete from pgqueue.ready")
"""


def run_pytest(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A pytest of its own, with nothing of ours but the installed plugin."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"),
            *("-W", "error", "--rootdir", str(folder), *arguments),
        ],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_fixtures_work_in_a_suite_of_ones_own(tmp_path: Path, cluster: Cluster) -> None:
    """Two tests pass, and the one that breaks an invariant gets an error when it ends."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")

    done = run_pytest(tmp_path, PGQUEUE_TEST_DSN=cluster.dsn(cluster.maintenance_dbname))

    assert "3 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "job in no table" in done.stdout


def test_the_fixtures_leave_no_database_behind(tmp_path: Path, cluster: Cluster) -> None:
    """Neither the template nor the clones."""
    (tmp_path / "test_suite.py").write_text(SUITE)

    run_pytest(tmp_path, PGQUEUE_TEST_DSN=cluster.dsn(cluster.maintenance_dbname))

    with psycopg.connect(cluster.dsn(cluster.maintenance_dbname)) as conn:
        left = conn.execute(
            "select datname from pg_database"
            " where datname ~ '^pgqueue_(template|test)_[0-9a-f]{8}$'"
        ).fetchall()

    assert left == []


def test_a_suite_that_does_not_use_the_plugin_does_not_start_anything(tmp_path: Path) -> None:
    """No server; its parts are not even imported."""
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test_nothing_is_imported():\n"
        "    parts = ('embedded', 'testing', 'migrate', 'connection')\n"
        "    assert not {f'pgqueue.{part}' for part in parts} & set(sys.modules)\n"
    )

    done = run_pytest(tmp_path, "-p", "no:postgresql")

    assert "1 passed" in done.stdout, done.stdout + done.stderr
