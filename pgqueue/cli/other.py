"""`pgqueue completion` and `pgqueue version`."""

from __future__ import annotations

import platform
from importlib import metadata

import click
import psycopg
from click.shell_completion import get_completion_class

from pgqueue.cli.base import Command, Failure
from pgqueue.cli.output import emit

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    database=False,
    data=False,
    examples=(
        'eval "$(pgqueue completion bash)"',
        "pgqueue completion fish > ~/.config/fish/completions/pgqueue.fish",
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """
    Print the script for completion in a shell.

    Put the first example's line into ~/.bashrc (or, with zsh, ~/.zshrc).
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Failure(f"no completion for {shell}")
    program = context.find_root().command
    try:
        click.echo(kind(program, {}, "pgqueue", "_PGQUEUE_COMPLETE").source())
    except RuntimeError as error:
        raise Failure(str(error)) from error


@click.command(cls=Command, database=False, examples=("pgqueue version --json",))
def version() -> None:
    """Print the versions of pgqueue, Python, psycopg and libpq."""
    libpq = psycopg.pq.version()
    found = {
        "pgqueue": metadata.version("pgqueue"),
        "python": platform.python_version(),
        "psycopg": metadata.version("psycopg"),
        "libpq": f"{libpq // 10000}.{libpq % 10000}",
    }
    emit(found, "\n".join(f"{name} {number}" for name, number in found.items()))
