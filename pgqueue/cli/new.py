"""`pgqueue new`: begin an application."""

from __future__ import annotations

from pathlib import Path

import click

from pgqueue.cli.base import Command
from pgqueue.cli.output import emit, note


@click.command(
    cls=Command,
    database=False,
    examples=("pgqueue new shop", "pgqueue new shop --below ~/src"),
)
@click.argument("name")
@click.option(
    "--below",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path(),
    help="Where the directory NAME is made; default here.",
)
def new(*, name: str, below: Path) -> None:
    """
    Write a new application: a package with a handler, its SQL, tests, make targets.

    It works as it is: a transactional handler that stores what comes, checks each item, counts,
    and can be repeated. NAME becomes a directory, a Python package and a schema. Nothing that
    exists is touched.
    """
    from pgqueue.scaffold import write_application  # noqa: PLC0415

    written = [str(path) for path in write_application(name, below=below)]
    emit({"written": written}, "\n".join(written))
    note(
        f"Next: `cd {below / name}`, then read README.md; `make demo` works at once,"
        " `make test` with pytest."
    )
