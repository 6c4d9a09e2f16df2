"""Statements as a person would run them: printed, given to psql, and what psql prints."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from pgqueue.cli.output import Column, table
from pgqueue.connection import connect
from pgqueue.demo.telling import indented, say
from pgqueue.embedded import DEFAULT_VERSION, EmbeddedError, find_binaries
from pgqueue.errors import PgqueueError

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

__all__ = ["Shell", "find_psql"]

_SECONDS = 60.0


def find_psql() -> Path | str | None:
    """A psql, of the embedded server or the system's; None if there is none."""
    try:
        return find_binaries(DEFAULT_VERSION).program("psql")
    except EmbeddedError:
        return shutil.which("psql")


@dataclass(frozen=True, slots=True)
class Shell:
    """
    psql, or where there is none this process, connected to one database.

    Attributes:
        dsn: The database.
        psql: The program.
    """

    dsn: str
    psql: Path | str | None

    @property
    def conninfo(self) -> str:
        """The DSN without its password: command lines are public."""
        given = conninfo_to_dict(self.dsn)
        given.pop("password", None)
        return make_conninfo("", **given)

    def show(self, statement: str) -> None:
        """
        Print a statement, run it, print what it answers.

        Raises:
            PgqueueError: It failed.
        """
        say(indented(statement))
        say("")
        answer = self._run_here(statement) if self.psql is None else self._run_psql(statement)
        if answer.strip():  # an INSERT, say, answers nothing
            say(indented(answer))
            say("")

    def _run_psql(self, statement: str) -> str:
        password = conninfo_to_dict(self.dsn).get("password")
        done = subprocess.run(
            [
                str(self.psql),
                *("-X", "-q", "-P", "pager=off", "-P", "footer=off", "-v", "ON_ERROR_STOP=1"),
                *("-d", self.conninfo, "-c", statement),
            ],
            env={
                **os.environ,
                "PGCLIENTENCODING": "UTF8",
                "PGCONNECT_TIMEOUT": "20",
                **({"PGPASSWORD": str(password)} if password else {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise PgqueueError(f"psql: {done.stderr.strip()}")
        return done.stdout

    def _run_here(self, statement: str) -> str:
        with connect(self.dsn) as connection, connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(statement.encode())
            answers = [_told(cursor)]
            while cursor.nextset():
                answers.append(_told(cursor))
        return "\n".join(answer for answer in answers if answer)


def _told(cursor: psycopg.Cursor[dict[str, Any]]) -> str:
    """The answer of one statement; empty if it has no rows to tell of."""
    if cursor.description is None:
        return ""
    return table(cursor.fetchall(), [Column(one.name, one.name) for one in cursor.description])
