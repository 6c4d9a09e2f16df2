"""The program: which commands there are and where they live."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from pgqueue.cli.base import INTERRUPTED, Group, dsn_option, handled, json_option

# name -> module below pgqueue.cli, and the command in it
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Start": {
        "demo": ("demo", "demo"),
        "embedded": ("embedded", "embedded"),
        "migrate": ("schema", "migrate"),
        "doctor": ("schema", "doctor"),
    },
    "Jobs": {
        "enqueue": ("enqueue", "enqueue"),
        "status": ("jobs", "status"),
        "jobs": ("jobs", "jobs"),
        "run": ("run", "run"),
    },
    "Workers": {
        "worker": ("worker", "worker"),
        "workers": ("workers", "workers"),
    },
    "Operate": {
        "queues": ("queues", "queues"),
        "types": ("types", "types"),
        "failed": ("failed", "failed"),
        "health": ("operate", "health"),
        "maintain": ("operate", "maintain"),
        "verify": ("operate", "verify"),
        "settings": ("settings", "settings"),
        "bench": ("bench", "bench"),
    },
    "Other": {
        "completion": ("other", "completion"),
        "version": ("other", "version"),
    },
}
_COMMANDS = {name: place for section in SECTIONS.values() for name, place in section.items()}


class Program(Group):
    """The root: imports a command when it is wanted, and turns errors into messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All names, by section."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the one that is asked for."""
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module = importlib.import_module(f"pgqueue.cli.{place[0]}")
        found = getattr(module, place[1])
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section."""
        width = max(len(name) for name in _COMMANDS)
        limit = formatter.width - width - 6
        for title, commands in SECTIONS.items():
            lines = []
            for name in commands:
                try:
                    command = self.get_command(ctx, name)
                    told = "" if command is None else command.get_short_help_str(limit)
                except ImportError as error:  # one broken part must not hide the others
                    told = f"(does not work here: {error})"
                lines.append((name.ljust(width), told))
            with formatter.section(title):
                formatter.write_dl(lines)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an expected error ends as a message and an exit code."""
        return handled(lambda: super(Program, self).invoke(ctx))


@click.group(
    cls=Program,
    name="pgqueue",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success, 1 the job or the check failed, 2 usage, 3 not found, 4 not in"
    " this status, 5 no permission, 6 schema of another version, 7 no database, 8 waited too long,"
    " 9 payload or result refused, 130 interrupted.",
)
def cli() -> None:
    """A job queue on PostgreSQL: enqueue, work, look, operate."""


cli.params += [dsn_option(), json_option()]


def main(prog_name: str = "pgqueue") -> None:
    """
    Run the program; the entry point `pgqueue`.

    Args:
        prog_name: For the usage lines.
    """
    try:
        cli.main(prog_name=prog_name)
    except KeyboardInterrupt:  # before or after click's own handling
        sys.exit(INTERRUPTED)
