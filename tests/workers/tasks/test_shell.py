"""Jobs that run a command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import ConfigurationError
from tests.support.applications import survive_kill
from tests.support.psql import REPOSITORY
from tests.support.wait import eventually
from tests.support.workers import (
    attempts,
    enqueue,
    reaches,
    status,
    work_off,
    working,
)
from workers.tasks.commands import load

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from pgqueue import Registry

    Database = psycopg.Connection[Any]
    Allow = Callable[..., Path]

SAY = "import sys; print(sys.argv[1:])"
SLEEP = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
partial = pathlib.Path(sys.argv[1] + '.partial')
partial.write_text(f'{os.getpid()} {child.pid}')
partial.rename(sys.argv[1])
time.sleep(60)
"""


@pytest.fixture
def allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Write the file of commands, with one that runs a Python program."""

    def write(program: str, *words: str, more: str = "", patterns: str = "") -> Path:
        argv = [sys.executable, "-c", program, *words]
        path = tmp_path / "commands.toml"
        path.write_text(f"[it]\nargv = {_toml(argv)}\n{more}\n[it.arguments]\n{patterns}\n")
        monkeypatch.setenv("SHELL_COMMANDS", str(path))
        return path

    return write


def _toml(words: list[str]) -> str:
    return json.dumps(words)  # an array of basic strings: JSON's escapes are TOML's too


def finished(db: Database, job_id: Any) -> Any:
    """Result and the first error's code."""
    return db.execute(
        "select result, errors -> 0 ->> 'code' from pgqueue.finished where job_id = %s", (job_id,)
    ).fetchone()


def ends(pid: int) -> None:
    """Wait until no such process runs; one that is dead and not yet reaped does not run."""

    def gone() -> bool:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except FileNotFoundError:
            return True
        return stat.rpartition(")")[2].split()[0] in "ZX"

    eventually(gone, seconds=10, what=f"process {pid} is gone")


def test_the_example_file_counts_words(
    dsn: str, db: Database, app: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What data/commands.toml allows works as it stands."""
    path = REPOSITORY / "workers" / "tasks" / "data" / "commands.toml"
    monkeypatch.setenv("SHELL_COMMANDS", str(path))
    job_id = enqueue(db, "shell", command="word_count", arguments={"file": "ode.txt"})

    work_off(app, dsn)

    result, _ = finished(db, job_id)
    assert (result["exit_code"], result["output"].split()) == (0, ["10", "ode.txt"])


def test_an_argument_is_one_word_and_no_shell_reads_it(
    dsn: str, db: Database, app: Registry, allow: Allow
) -> None:
    """Spaces, quotes, $(...) and ; arrive as they are."""
    nasty = "a b; $(id) `id` 'x' \"y\" * | > /tmp/x"
    allow(SAY, "{word}", patterns="word = '.*'")
    job_id = enqueue(db, "shell", command="it", arguments={"word": nasty})

    work_off(app, dsn)

    assert finished(db, job_id)[0]["output"] == f"{[nasty]}\n"


@pytest.mark.parametrize(
    "payload",
    [
        {"command": "rm"},
        {"command": "it"},
        {"command": "it", "arguments": {"word": "UPPER"}},
        {"command": "it", "arguments": {"word": "ok\n"}},
        {"command": "it", "arguments": {"word": "--help"}},
        {"command": "it", "arguments": {"word": "ok", "other": "x"}},
    ],
    ids=repr,
)
def test_what_is_not_allowed_does_not_run(
    dsn: str, db: Database, app: Registry, allow: Allow, payload: dict[str, Any]
) -> None:
    """Unknown commands and arguments, missing ones, and what no pattern matches as a whole."""
    allow(SAY, "{word}", patterns="word = '[a-z-]+'")
    job_id = enqueue(db, "shell", **payload)

    work_off(app, dsn)

    assert (status(db, job_id), finished(db, job_id)[1]) == ("failed", "command_refused")


def test_an_exit_code_that_is_no_success_is_tried_again(
    dsn: str, db: Database, app: Registry, allow: Allow
) -> None:
    """The error has the code and the end of the output."""
    allow("import sys; print('out of paper'); sys.exit(3)")
    job_id = enqueue(db, "shell", command="it")

    work_off(app, dsn)

    error = db.execute("select error from pgqueue.attempts where job_id = %s", (job_id,)).fetchone()
    assert status(db, job_id) == "retrying"
    assert error is not None
    assert (error[0]["code"], error[0]["message"]) == (
        "command_failed",
        "it ended with 3: out of paper",
    )


def test_too_much_output_ends_it(dsn: str, db: Database, app: Registry, allow: Allow) -> None:
    """A command that never stops writing is killed at its limit; memory stays small."""
    allow("while True: print('x' * 1000)", more="output_bytes = 200000")
    job_id = enqueue(db, "shell", command="it")

    work_off(app, dsn)

    assert (status(db, job_id), finished(db, job_id)[1]) == ("failed", "command_output_limit")


def test_the_tail_of_the_output_is_kept(
    dsn: str, db: Database, app: Registry, allow: Allow
) -> None:
    """4,000 bytes of it, whatever bytes they are."""
    allow("import sys; sys.stdout.buffer.write(b'x' * 9000 + bytes([0, 255]) + b'end')")
    job_id = enqueue(db, "shell", command="it")

    work_off(app, dsn)

    result, _ = finished(db, job_id)
    assert (result["output_bytes"], len(result["output"])) == (9005, 4000)
    assert result["output"].endswith("x\ufffd\ufffdend")


def pids(path: Path) -> list[int]:
    """Wait until the command and its child run."""
    eventually(path.exists, seconds=20, what="the command runs")
    return [int(word) for word in path.read_text().split()]


def test_past_its_time_it_ends_with_all_that_it_started(
    dsn: str, db: Database, app: Registry, allow: Allow, tmp_path: Path
) -> None:
    """The command and its child are gone when the job has failed."""
    allow(SLEEP, str(tmp_path / "pids"), more="seconds = 1.5")
    job_id = enqueue(db, "shell", command="it")

    work_off(app, dsn)

    assert finished(db, job_id)[1] == "command_timed_out"
    for pid in pids(tmp_path / "pids"):
        ends(pid)


def test_a_cancelled_job_ends_its_command(
    dsn: str, db: Database, app: Registry, allow: Allow, tmp_path: Path
) -> None:
    """So does a worker that stops."""
    allow(SLEEP, str(tmp_path / "pids"))
    job_id = enqueue(db, "shell", command="it")
    with working(app, dsn):
        running = pids(tmp_path / "pids")
        db.execute("select pgqueue.cancel(%s, 'enough')", (job_id,))
        reaches(db, job_id, "cancelled")

    for pid in running:
        ends(pid)


def test_a_killed_workers_command_runs_again_elsewhere(
    dsn: str, db: Database, allow: Allow, tmp_path: Path
) -> None:
    """SIGKILL in the middle: nothing is lost. Effects outside repeat; the job's id tells them."""
    program = (
        "import os, pathlib, time; here = pathlib.Path(os.environ['HERE'])\n"
        "with open(here / 'runs', 'a') as runs: runs.write(os.environ['PGQUEUE_JOB_ID'] + '\\n')\n"
        "while not (here / 'gate').exists(): time.sleep(0.01)\n"
    )
    allow(program, more=f"seconds = 30\nenvironment = {{ HERE = '{tmp_path}' }}")
    job_id = enqueue(db, "shell", command="it")
    ended = survive_kill(
        dsn,
        db,
        tmp_path,
        "workers.tasks",
        job_id,
        middle=lambda: eventually((tmp_path / "runs").exists, seconds=20, what="the command runs"),
        after=(tmp_path / "gate").touch,
    )

    assert ended.status == "succeeded"
    assert attempts(db, job_id) == ["lost"]
    assert (tmp_path / "runs").read_text().split() == [str(job_id)] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[it]\nargv = []", "argv is not an array"),
        ("[it]\nargv = ['wc']", "not an absolute path"),
        ("[it]\nargv = ['/usr/bin/{tool}']\n[it.arguments]\ntool = 'a'", "choose the program"),
        ("[it]\nargv = ['/usr/bin/wc', '{file}']", "different things"),
        ("[it]\nargv = ['/usr/bin/wc']\nshell = true", "unknown key shell"),
        ("[it]\nargv = ['/usr/bin/wc', '{a}']\n[it.arguments]\na = '['", "it: "),
        ("[it]\nargv = ['/usr/bin/wc']\nseconds = 0", "not positive"),
        ("it = 1", "not a table"),
        ("[it", "SHELL_COMMANDS"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """The error names the file's variable, the command and what is wrong."""
    path = tmp_path / "commands.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=says):
        load(str(path))
