from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Cli, command, environ, program
from tests.support.sqljobs import value
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    Db = psycopg.Connection[Any]

APP = """
import asyncio
from pgqueue import JobContext, Snooze, job

@job("add")
async def add(ctx: JobContext, a: int, b: int) -> dict:
    ctx.metrics.processed(2)
    return {"sum": a + b}

@job("bad")
def bad() -> None:
    raise ValueError("no such file")

@job("later")
async def later() -> None:
    raise Snooze(3600)

@job("long")
async def long(ctx: JobContext) -> None:
    ctx.progress(10, "sleeping")
    await asyncio.sleep(600)
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with handlers, in the current directory."""
    (tmp_path / "shop_jobs.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return "shop_jobs"


DIALS = """
from pgqueue import Client, job

def look() -> str:
    with Client() as queue:
        return queue.status(queue.enqueue("never")).status

@job("in_a_thread")
def in_a_thread() -> str:
    return look()

@job("in_a_child", isolation="process")
def in_a_child() -> str:
    return look()
"""


@pytest.mark.parametrize("words", [("worker", "--drain"), ("run", "in_a_thread")])
def test_handlers_that_connect_find_the_database_of_the_option(
    app: str, dsn: str, db: Db, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """--dsn goes before PGQUEUE_DSN for them too, in children as well."""
    (tmp_path / f"{app}.py").write_text(DIALS)
    db.execute("insert into pgqueue.jobs (job_type) values ('in_a_thread'), ('in_a_child')")
    done = subprocess.run(
        command(*words, "--app", app, "--dsn", dsn),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environ({"PGQUEUE_DSN": "host=127.0.0.1 port=1 dbname=elsewhere"}),
    )
    finished = db.execute("select status, result from pgqueue.job_status where result is not null")

    assert done.returncode == 0, done.stderr
    assert set(finished) == {("succeeded", "queued")}


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are killed when the test ends, if they still run."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate(timeout=20)


def start(dsn: str, *words: object) -> subprocess.Popen[str]:
    """Start the command line and leave it running."""
    return subprocess.Popen(
        command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ({"PGQUEUE_DSN": dsn}),
    )


def test_a_program_can_rely_on_stdout_and_the_exit_code(dsn: str) -> None:
    """JSON on stdout, nothing else; 0, 2, 3 as documented."""
    env = {"PGQUEUE_DSN": dsn}
    made = program("enqueue", "t", "--json", environment=env)
    refused = program("enqueue", "t", "[", environment=env)
    missing = program("status", "00000000-0000-0000-0000-000000000001", environment=env)

    assert json.loads(made.stdout)["id"]
    assert (made.returncode, refused.returncode, missing.returncode) == (0, 2, 3)
    assert (made.stderr, refused.stdout, missing.stdout) == ("", "", "")


def test_without_a_database_it_says_how_to_name_one() -> None:
    """Exit code 2, no traceback."""
    env = dict.fromkeys(("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE"), "")
    done = program("queues", "list", environment=env)

    assert done.returncode == 2
    assert "PGQUEUE_DSN" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:s3cret@localhost:1/nowhere?connect_timeout=2",
        "host=localhost port=1 user=me password=s3cret connect_timeout=2",
        "postgresql://me:s3cret@localhost:nonsense/x",
        "host=localhost password=s3cret s3cret",
    ],
)
def test_a_password_is_never_shown(dsn: str) -> None:
    """Neither for a server that is not there nor for a DSN that cannot be read."""
    for words in (["queues", "list"], ["doctor"], ["migrate"], ["health", "--json"]):
        done = program(*words, "--dsn", dsn)

        assert done.returncode in {1, 2, 7}
        assert "s3cret" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_an_unreachable_server_is_exit_code_7() -> None:
    """What a probe tells apart from an unhealthy queue."""
    done = program("health", "--dsn", "host=/nonexistent dbname=x connect_timeout=2")

    assert done.returncode == 7


def test_a_reader_that_goes_away_is_no_error(dsn: str) -> None:
    """`pgqueue jobs list | head -1` prints one line and no traceback."""
    cli = Cli(dsn)
    cli.text("enqueue", "--many", "-", stdin='{"job_type": "t"}\n' * 3_000)
    listing = subprocess.Popen(
        command("jobs", "list", "--limit", "3000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ({"PGQUEUE_DSN": dsn}),
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    first = listing.stdout.readline()
    listing.stdout.close()
    said = listing.stderr.read()
    listing.stderr.close()
    listing.wait(timeout=30)

    assert first.startswith("id")
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_ctrl_c_is_quiet(dsn: str, started: list[subprocess.Popen[str]], db: Db) -> None:
    """Exit code 130 and no traceback; the job goes on."""
    process = start(dsn, "enqueue", "t", "--wait")
    started.append(process)
    eventually(lambda: value(db, "select count(*) from pgqueue.jobs") == 1)
    assert process.stderr is not None
    assert "enqueued" in process.stderr.readline()

    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=20)

    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in said
    assert value(db, "select count(*) from pgqueue.ready") == 1


def in_terminal(dsn: str, *words: object, **variables: str) -> str:
    """What a command writes to a terminal."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        command(*words),
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env=environ({"PGQUEUE_DSN": dsn, "TERM": "xterm", **variables}),
    )
    os.close(secondary)
    parts = []
    try:
        while part := os.read(primary, 4_096):
            parts.append(part)
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(primary)
    process.wait(timeout=30)
    return b"".join(parts).decode()


def test_colours_are_for_terminals_and_can_be_switched_off(dsn: str, db: Db) -> None:
    """NO_COLOR and TERM=dumb, as everywhere."""
    cli = Cli(dsn)
    job_id = cli.text("enqueue", "t").strip()
    worker = value(db, "select pgqueue.register_worker('w')")
    token = value(db, "select token from pgqueue.claim(%s)", worker)
    value(db, 'select pgqueue.fail(%s, %s, \'{"code": "x"}\', false)::text', job_id, token)

    assert "\x1b[31mfailed" in in_terminal(dsn, "jobs", "list")
    assert "\x1b[" not in in_terminal(dsn, "jobs", "list", NO_COLOR="1")
    assert "\x1b[" not in in_terminal(dsn, "jobs", "list", TERM="dumb")
    assert "\x1b[" not in cli.text("jobs", "list")


def test_long_work_shows_a_bar_in_a_terminal(dsn: str) -> None:
    """And its result after it."""
    Cli(dsn).text("enqueue", "--many", "-", stdin='{"job_type": "t"}\n' * 1_500)

    shown = in_terminal(dsn, "queues", "purge", "default", "--yes")

    assert "purging default" in shown
    assert "1500/1500" in shown
    assert "1,500 jobs cancelled" in shown


def test_the_overview_comes_at_once() -> None:
    """Nothing heavy is imported for it; the worker, the doctor and the demo are not."""
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from pgqueue.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0\n"
        "heavy = {'pgqueue.worker', 'pgqueue.doctor', 'pgqueue.demo', 'pgqueue.embedded',"
        " 'pgqueue.migrate', 'uvloop'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"


def test_run_runs_one_job_here(dsn: str, app: str) -> None:
    """Its logs on stderr, its end on stdout; 0 for success."""
    done = program(
        *("run", "add", '{"a": 1, "b": 2}', "--app", app, "--json"),
        environment={"PGQUEUE_DSN": dsn},
    )

    job = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (job["status"], job["result"], job["metrics"]) == (
        *("succeeded", {"sum": 3}),
        {"items_processed": 2},
    )
    assert "job succeeded" in done.stderr


def test_run_works_in_strict_mode_and_beside_other_workers(dsn: str, app: str, db: Db) -> None:
    """It registers its type first, and its queue is its own."""
    Cli(dsn).text("settings", "set", "--strict-types")
    value(db, "select pgqueue.register_worker('other', '{default}')")

    done = program("run", "add", '{"a": 1, "b": 2}', "--app", app, environment={"PGQUEUE_DSN": dsn})

    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout


def test_run_fails_once_and_shows_where(dsn: str, app: str) -> None:
    """Exit code 1; no retry; the traceback is in the output."""
    done = program("run", "bad", "--app", app, environment={"PGQUEUE_DSN": dsn})

    assert done.returncode == 1
    assert "no such file" in done.stdout
    assert "in bad" in done.stdout
    assert "attempt      1 of 1" in done.stdout


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (["nothing", "--app", "shop_jobs"], 3),
        (["add", "--app", "no_such_app"], 2),
        (["add", '{"a": "x", "b": 2}', "--app", "shop_jobs"], 1),
        (["add"], 2),
    ],
)
def test_run_says_what_is_wrong_with_the_call(
    dsn: str, app: str, words: list[str], exit_code: int
) -> None:
    """No handler, no app, a payload that does not fit, no --app."""
    done = program("run", *words, environment={"PGQUEUE_DSN": dsn})

    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr


def test_run_leaves_nothing_that_nobody_would_run(dsn: str, app: str, db: Db) -> None:
    """A job that snoozes is cancelled: no worker listens to the queue of a foreground run."""
    done = program("run", "later", "--app", app, environment={"PGQUEUE_DSN": dsn})

    assert done.returncode == 1
    assert value(db, "select status from pgqueue.job_status") == "cancelled"


def test_run_can_be_interrupted(
    dsn: str, app: str, db: Db, started: list[subprocess.Popen[str]]
) -> None:
    """Ctrl-C stops the handler; the job is cancelled; exit code 130."""
    process = start(dsn, "run", "long", "--app", app)
    started.append(process)
    eventually(lambda: value(db, "select count(*) from pgqueue.running") == 1)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=40)

    assert process.returncode == 130
    assert "Traceback" not in said
    assert value(db, "select status from pgqueue.job_status") == "cancelled"


def test_a_worker_drains_its_queues_and_ends(dsn: str, app: str) -> None:
    """Several queues; 0 at the end; logs on stderr as JSON when asked."""
    cli = Cli(dsn)
    for queue in ("a", "b"):
        cli.text("enqueue", "add", '{"a": 1, "b": 2}', "--queue", queue)

    done = program(
        *("worker", "--app", app, "--queue", "a", "--queue", "b", "--drain"),
        *("--log-format", "json", "--name", "w-cli", "--concurrency", "3"),
        environment={"PGQUEUE_DSN": dsn},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert [job["worker"] for job in cli.data("jobs", "list", "--status", "succeeded")] == [
        "w-cli",
        "w-cli",
    ]
    assert all(json.loads(line) for line in done.stderr.splitlines())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_ends_on_sigterm(
    dsn: str, app: str, processes: int, started: list[subprocess.Popen[str]]
) -> None:
    """With and without a supervisor; what runs goes back."""
    cli = Cli(dsn)
    job_id = cli.text("enqueue", "long").strip()
    process = start(
        *(dsn, "worker", "--app", app, "--shutdown-timeout", "500ms"),
        *("--processes", processes, "--log-level", "warning"),
    )
    started.append(process)
    eventually(lambda: len(cli.data("workers", "list")) == processes, seconds=40)
    eventually(lambda: cli.data("status", job_id)["status"] == "running")

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)

    assert process.returncode == 0
    assert cli.data("status", job_id)["status"] == "queued"
    assert cli.data("workers", "list") == []


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (["--app", "no_such_app"], 2),
        (["--app", "shop_jobs", "--concurrency", "0"], 2),
        (["--app", "shop_jobs", "--lease", "soon"], 2),
        ([], 2),
    ],
)
def test_a_worker_that_is_set_up_wrongly_says_so(
    dsn: str, app: str, words: list[str], exit_code: int
) -> None:
    """At once, with a message."""
    done = program("worker", *words, environment={"PGQUEUE_DSN": dsn})

    assert done.returncode == exit_code
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_needs_the_schema(empty_dsn: str, app: str) -> None:
    """Exit code 6 and the command that installs it."""
    began = time.monotonic()
    done = program("worker", "--app", app, environment={"PGQUEUE_DSN": empty_dsn})

    assert done.returncode == 6, done.stderr
    assert "pgqueue migrate" in done.stderr
    assert time.monotonic() - began < 30
