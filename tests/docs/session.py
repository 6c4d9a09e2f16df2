"""A reader at the terminal: a database, a directory, psql, a shell and Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.psql import REPOSITORY, psql_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.blocks import Block

BLOCK_SECONDS = 60
_MARK = "--- end of block, last error"
_VOLATILE = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d(:?\d\d)?|Z)?"), "<time>"),
    (re.compile(r"\d+ ms"), "<ms>"),
    (re.compile(r"\d+\.\d+"), "<number>"),
    (re.compile(r"[-+|]*--[-+|]*"), "---"),
    (re.compile(r"(?<=\| by )\S+"), "<login>"),
    (re.compile(r"\s+"), " "),
)


def normalised(output: str) -> str:
    """*output* without what differs from run to run: ids, times, durations and column widths."""
    for pattern, name in _VOLATILE:
        output = pattern.sub(name, output)
    return output.strip()


class Reader:
    """
    Runs blocks one after another, with one psql for all sql blocks.

    Args:
        dsn: The database.
        directory: Where files are written and programs are started.
    """

    def __init__(self, dsn: str, directory: Path) -> None:
        self.directory = directory
        # Not resolved: the environment's own python is a link out of its bin directory.
        programs = [str(psql_program().parent), str(Path(sys.executable).parent)]
        self._environment = {
            **os.environ,
            "PGQUEUE_DSN": dsn,
            "PGQUEUE_TEST_DSN": dsn,
            "PATH": os.pathsep.join([*programs, os.environ.get("PATH", "")]),
            "PYTHONPATH": str(REPOSITORY),
            "PGCLIENTENCODING": "UTF8",
            "PGCONNECT_TIMEOUT": "20",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        self._psql = subprocess.Popen(
            [str(psql_program()), "-X", "-q", "-P", "pager=off", "-d", dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            env=self._environment,
        )

    def run(self, block: Block) -> str:
        """
        Run one block; return what it prints.

        Raises:
            AssertionError: It failed, or an sql block did not fail as its marker says.
        """
        match block.language:
            case "sql":
                return self._run_sql(block)
            case "sh":
                return self._run_program(["bash", "-euo", "pipefail", "-c", block.text], block)
            case "python":
                return self._run_program([sys.executable, "-W", "error", "-c", block.text], block)
            case other:
                raise AssertionError(other)

    def close(self) -> None:
        """End psql."""
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        self._psql.kill()
        self._psql.wait(timeout=20)
        self._psql.stdin.close()
        self._psql.stdout.close()

    def _run_sql(self, block: Block) -> str:
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        stop = "off" if block.fails else "on"
        script = f"\\set ON_ERROR_STOP {stop}\n{block.text}\n\\echo {_MARK} :LAST_ERROR_SQLSTATE\n"
        printed: list[str] = []
        deadline = threading.Timer(BLOCK_SECONDS, self._psql.kill)
        deadline.start()
        try:
            self._psql.stdin.write(script)
            self._psql.stdin.flush()
            for line in self._psql.stdout:
                if line.startswith(_MARK):
                    break
                printed.append(line)
            else:
                raise AssertionError(_told(block, "psql ended", "".join(printed)))
        finally:
            deadline.cancel()
        output = "".join(printed)
        state = line.removeprefix(_MARK).strip()
        if block.fails:
            assert block.fails == state, _told(block, f"SQLSTATE {state}", output)
        return output

    def _run_program(self, command: list[str], block: Block) -> str:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
            cwd=self.directory,
            env=self._environment,
        )
        assert done.returncode == 0, _told(
            block, f"exit {done.returncode}", done.stdout + done.stderr
        )
        return done.stdout


def _told(block: Block, what: str, output: str) -> str:
    return f"{block.document} line {block.line}: {what}\n{block.text}\n--- printed\n{output}"


@contextmanager
def reader(dsn: str, directory: Path, blocks: list[Block]) -> Iterator[Reader]:
    """
    A reader whose directory holds the files of a README and the checkout's sql/.

    Args:
        dsn: The database.
        directory: An empty one.
        blocks: All blocks of it.
    """
    (directory / "sql").symlink_to(REPOSITORY / "sql")
    for block in blocks:
        if block.file is not None:
            (directory / block.file).write_text(block.text, encoding="utf-8")
    found = Reader(dsn, directory)
    try:
        yield found
    finally:
        found.close()
