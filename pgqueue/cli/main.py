"""The program: which commands there are and where they live."""

from __future__ import annotations

import difflib
import importlib
import sys
from importlib import metadata
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
        "graph": ("graph", "graph"),
        "batches": ("batches", "batches"),
        "signal": ("signal", "signal"),
        "run": ("run", "run"),
    },
    "Workers": {
        "worker": ("worker", "worker"),
        "workers": ("workers", "workers"),
    },
    "Operate": {
        "queues": ("queues", "queues"),
        "types": ("types", "types"),
        "schedules": ("schedules", "schedules"),
        "tenants": ("tenants", "tenants"),
        "limits": ("limits", "limits"),
        "failed": ("failed", "failed"),
        "health": ("operate", "health"),
        "maintain": ("operate", "maintain"),
        "verify": ("operate", "verify"),
        "settings": ("settings", "settings"),
        "bench": ("bench", "bench"),
    },
    "Develop": {
        "new": ("new", "new"),
        "check": ("check", "check"),
        "upsert": ("upsert", "upsert"),
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a mistyped one, name those that are close."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(name, _COMMANDS, n=3)
            meant = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise click.UsageError(f"No such command {name!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

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


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if value:
        click.echo(f"pgqueue {metadata.version('pgqueue')}")
        context.exit()


@click.group(
    cls=Program,
    name="pgqueue",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success, 1 the job or the check failed, 2 usage, 3 not found, 4 not in"
    " this status, 5 no permission, 6 schema of another version, 7 no database, 8 waited too long,"
    " 9 payload, result or other value refused, 130 interrupted.",
)
def cli() -> None:
    """A job queue on PostgreSQL: enqueue, work, look, operate."""


cli.params += [
    dsn_option(),
    json_option(),
    click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_print_version,
        help="Print pgqueue's version; `pgqueue version` says more.",
    ),
]


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
