"""
Secrets stay where they were put: a canary in payload, header and password is looked for.

Where: what a worker and the command line print, their argument lists, what pg_stat_activity shows
to others, tracebacks. Payloads are in the database and in backups, and nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from tests.support.cli import Cli, command, environ
from tests.support.psql import REPOSITORY
from tests.support.sqljobs import column, insert, status, value
from tests.support.wait import eventually
from tests.support.workers import APP, worker_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_CANARY = "c4n4ry-7f3a"
_PAYLOAD = {"gate": _CANARY, "word": _CANARY, "password": _CANARY}


@pytest.fixture
def secret_dsn(db: Db, dsn: str) -> Iterator[str]:
    """Conninfo of a login whose password is the canary."""
    name = f"pgqueue_test_{os.getpid()}_secret"
    db.execute(f"create role {name} superuser login password '{_CANARY}'")
    yield make_conninfo(dsn, user=name, password=_CANARY)
    db.execute(f"drop owned by {name}")
    db.execute(f"drop role {name}")


def _children(pid: int) -> list[int]:
    """A process and all below it, by /proc."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += _children(int(child))
    return found


def _arguments(pid: int) -> str:
    """What `ps` shows of a process and all below it."""
    told = []
    for one in _children(pid):
        with contextlib.suppress(OSError):
            told.append(Path(f"/proc/{one}/cmdline").read_text().replace("\0", " "))
    return "\n".join(told)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_worker_logs_ids_and_no_secret(
    secret_dsn: str, db: Db, tmp_path: Path, *, as_json: bool
) -> None:
    """At its most talkative: jobs that succeed, that cannot be bound and that nobody handles."""
    log_format = "json" if as_json else "text"
    words = ["--app", APP, "--drain", "--log-level", "debug", "--log-format", log_format]
    payloads = [
        ("in_task", _PAYLOAD),
        ("in_task", {"word": [_CANARY]}),
        ("in_process", {"word": _CANARY}),
        ("write_in_task", {"fail": _CANARY}),
        ("nothing", {"unexpected": _CANARY}),
    ]
    jobs = [
        insert(db, job_type, payload=payload, headers={"authorization": _CANARY}, max_attempts=1)
        for job_type, payload in payloads
    ]
    done = subprocess.run(
        command("worker", *words),
        capture_output=True,
        text=True,
        env=environ({"PGQUEUE_DSN": secret_dsn}),
        cwd=REPOSITORY,
        timeout=60,
        check=False,
    )

    assert {status(db, job) for job in jobs} <= {"succeeded", "failed"}
    assert all(str(job) in done.stderr for job in jobs), done.stderr
    assert _CANARY not in done.stdout + done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc on this system")
def test_ps_and_the_activity_view_show_no_secret(secret_dsn: str, db: Db, tmp_path: Path) -> None:
    """Of the supervisor, its workers and their child processes, while jobs run."""
    gate = tmp_path / f"gate-{_CANARY}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command("worker", "--app", APP, "--processes", "2"),
            stdout=log,
            stderr=log,
            env=environ({"PGQUEUE_DSN": secret_dsn}),
            cwd=REPOSITORY,
        )
    try:
        job = insert(db, "process_gate", payload={"gate": str(gate)}, headers={"h": _CANARY})
        eventually(lambda: Path(f"{gate}.started").exists(), seconds=30, what="the handler runs")
        shown = _arguments(process.pid)
        activity = column(
            db, "select a::text from pg_stat_activity a where pid <> pg_backend_pid()"
        )
        gate.touch()
        eventually(lambda: status(db, job) == "succeeded", seconds=30)
    finally:
        process.terminate()
        process.wait(30)

    assert len(shown.splitlines()) >= 3, shown
    assert len(activity) > 2
    assert _CANARY not in shown
    assert _CANARY not in "\n".join(activity)


def test_a_statement_shows_its_parameters_to_nobody(db: Db, dsn: str, connect: Connect) -> None:
    """What a waiting enqueue shows in pg_stat_activity is the text of the call alone."""
    locker = connect(autocommit=False)
    locker.execute("lock table pgqueue.jobs in exclusive mode")
    thread = threading.Thread(
        target=Cli(dsn), args=("enqueue", "t", json.dumps(_PAYLOAD), "--header", f"h={_CANARY}")
    )
    thread.start()
    query = """select query from pg_stat_activity
        where wait_event_type = 'Lock' and query like '%%enqueue%%' and pid <> pg_backend_pid()"""
    eventually(lambda: column(db, query), what="the enqueue waits")
    (seen,) = column(db, query)
    locker.rollback()
    thread.join(30)

    assert "pgqueue.enqueue" in seen
    assert _CANARY not in seen


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://u:{_CANARY}@localhost:1/x",
        f"host=localhost port=1 user=u password={_CANARY}",
        f"host=localhost port=1 password='{_CANARY} unfinished",
        f"postgresql://u:{_CANARY}%zz@localhost/x",
        f"postgresql://u:{_CANARY}@localhost:port/x",
        f"host=localhost port=1 passwort={_CANARY}",
    ],
)
@pytest.mark.parametrize("how", ["option", "variable"])
def test_no_error_quotes_a_dsn(dsn: str, how: str) -> None:
    """Cannot be read, cannot be reached: in words and in JSON, of each command that connects."""
    for words in (("jobs", "list"), ("doctor",), ("migrate",), ("enqueue", "t")):
        given = ("--dsn", dsn) if how == "option" else ()
        told = Cli(dsn if how == "variable" else "")(
            "--json", *words, *given, PGCONNECT_TIMEOUT="2"
        )

        assert told.exit_code != 0
        assert _CANARY not in told.output


def test_no_data_that_is_printed_holds_a_password(secret_dsn: str, db: Db, tmp_path: Path) -> None:
    """What --json says of server, workers and settings while a worker runs with that password."""
    with worker_process(secret_dsn, tmp_path, name="w") as running:
        told = [
            Cli(secret_dsn)(*words, "--json").output
            for words in (
                ("doctor",),
                ("workers", "list"),
                ("health",),
                ("settings", "show"),
                ("version",),
                ("queues", "list"),
            )
        ]
        stored = value(db, "select string_agg(w::text, '') from pgqueue.workers w")
        said = running.said

    assert all(len(text) > 2 for text in told)
    assert _CANARY not in "".join(told) + stored + said


def test_a_failure_at_the_door_does_not_show_the_payload(dsn: str) -> None:
    """The server's DETAIL has the whole row; a message for people has not."""
    told = Cli(dsn)("enqueue", "t", json.dumps(_PAYLOAD), "--queue", "q" * 64)

    assert told.exit_code != 0
    assert _CANARY not in told.output
