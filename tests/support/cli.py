"""Run the command line: in this process, or as a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from pgqueue.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.testing import Result

_SECONDS = 60.0
# What a test machine may have set and what would change the output.
_ENVIRONMENT = {"COLUMNS": "", "NO_COLOR": "", "PGQUEUE_DSN": "", "PGQUEUE_POOLER": ""}


@dataclass(frozen=True, slots=True)
class Cli:
    """
    The command line on one database.

    Attributes:
        dsn: Passed in PGQUEUE_DSN.
    """

    dsn: str

    def __call__(self, *args: object, stdin: str | None = None, **variables: str) -> Result:
        """
        Run a command in this process; an error of its own code is raised here.

        Args:
            args: Its words.
            stdin: What it reads.
            variables: More environment.
        """
        env = {**_ENVIRONMENT, "PGQUEUE_DSN": self.dsn, **variables}
        result = CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin, env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def text(self, *args: object, stdin: str | None = None) -> str:
        """What a command prints that must succeed."""
        result = self(*args, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def data(self, *args: object, stdin: str | None = None) -> Any:
        """What it prints with --json."""
        return json.loads(self.text(*args, "--json", stdin=stdin))


def program(
    *args: object,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
    seconds: float = _SECONDS,
) -> subprocess.CompletedProcess[str]:
    """
    Run the command line as a process.

    Args:
        args: Its words.
        environment: Beside the tests' own.
        stdin: What it reads.
        seconds: It is killed after this time.
    """
    return subprocess.run(
        command(*args),
        capture_output=True,
        text=True,
        input=stdin,
        env=environ(environment),
        timeout=seconds,
        check=False,
    )


def command(*args: object) -> list[str]:
    """The command line as a list of words."""
    return [sys.executable, "-m", "pgqueue", *map(str, args)]


def environ(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of such a process."""
    return {**os.environ, **_ENVIRONMENT, **(environment or {})}
