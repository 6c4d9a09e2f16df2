"""
The commands that jobs of type `shell` may run: a TOML file, named by SHELL_COMMANDS.

    [word_count]
    argv = ["/usr/bin/wc", "-w", "--", "{file}"]
    directory = "/srv/texts"
    seconds = 30
    output_bytes = 100000

    [word_count.arguments]
    file = '[a-z0-9_]+[.]txt'

Each argument of a job must match its pattern as a whole and takes the place of {name} in argv, as
one word: no shell reads it. An argument that begins with - is refused unless its pattern begins so.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgqueue import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 60.0
OUTPUT_BYTES = 1_000_000
TAIL_BYTES = 4_000
_HOLE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_KEYS = frozenset(
    {"argv", "arguments", "directory", "environment", "seconds", "output_bytes", "exit_codes"}
)


class Refused(Exception):
    """The job asks for what is not allowed."""


@dataclass(frozen=True, slots=True)
class Command:
    """
    One entry.

    Attributes:
        argv: The program, by its absolute path, and its arguments.
        arguments: Patterns of what a job may give.
        directory: Where it runs; in the file, seen from where the file lies.
        environment: All that it gets, beside PATH, LANG, PGQUEUE_JOB_ID and PGQUEUE_TOKEN.
        seconds: Its time limit.
        output_bytes: How much it may write; more ends it.
        exit_codes: Those that are success.
    """

    argv: tuple[str, ...]
    arguments: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    directory: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = SECONDS
    output_bytes: int = OUTPUT_BYTES
    exit_codes: frozenset[int] = frozenset({0})

    def filled(self, given: Mapping[str, str]) -> list[str]:
        """
        Put a job's arguments in.

        Raises:
            Refused: One is missing, unknown, or does not match.
        """
        for name in self.arguments.keys() - given.keys():
            raise Refused(f"the argument {name} is missing")
        for name, value in given.items():
            pattern = self.arguments.get(name)
            if pattern is None:
                raise Refused(f"there is no argument {name[:100]!r}")
            if "\0" in value or not pattern.fullmatch(value):
                raise Refused(f"the argument {name} does not match its pattern")
            if value.startswith("-") and not pattern.pattern.startswith("-"):
                raise Refused(f"the argument {name} begins with -")
        return [_HOLE.sub(lambda hole: given[hole[1]], word) for word in self.argv]


def load(path: str | None = None) -> dict[str, Command]:
    """
    Read the file.

    Args:
        path: Instead of SHELL_COMMANDS; without either no command is allowed.

    Raises:
        ConfigurationError: It is missing or makes no sense; names the command and the key.
    """
    name = os.environ.get("SHELL_COMMANDS") if path is None else path
    if not name:
        return {}
    try:
        tables = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"SHELL_COMMANDS: {name}: {exc}") from exc
    here = Path(name).resolve().parent
    return {command: _command(command, table, here) for command, table in tables.items()}


def _command(name: str, table: Any, here: Path) -> Command:
    def checked(*, right: bool, what: str) -> None:
        if not right:
            raise ConfigurationError(f"SHELL_COMMANDS: {name}: {what}")

    checked(right=isinstance(table, dict), what="not a table")
    for key in table.keys() - _KEYS:
        checked(right=False, what=f"unknown key {key}")
    argv = table.get("argv")
    checked(
        right=isinstance(argv, list) and bool(argv) and all(isinstance(one, str) for one in argv),
        what="argv is not an array of strings",
    )
    checked(right=Path(argv[0]).is_absolute(), what="argv[0] is not an absolute path")
    try:
        arguments = {key: re.compile(text) for key, text in table.get("arguments", {}).items()}
        command = Command(
            argv=tuple(argv),
            arguments=arguments,
            directory=str(here / table.get("directory", "/")),
            environment={str(k): str(v) for k, v in table.get("environment", {}).items()},
            seconds=float(table.get("seconds", SECONDS)),
            output_bytes=int(table.get("output_bytes", OUTPUT_BYTES)),
            exit_codes=frozenset(map(int, table.get("exit_codes", [0]))),
        )
    except (TypeError, ValueError, AttributeError, re.error) as exc:
        raise ConfigurationError(f"SHELL_COMMANDS: {name}: {exc}") from exc
    holes = {hole for word in argv for hole in _HOLE.findall(word)}
    checked(right=holes == arguments.keys(), what="argv and arguments name different things")
    checked(right=not _HOLE.search(argv[0]), what="a job cannot choose the program")
    checked(right=command.seconds > 0 and command.output_bytes > 0, what="a limit is not positive")
    return command
