"""`pgqueue migrate` and `pgqueue doctor`: the schema, and whether the database can be trusted."""

from __future__ import annotations

import dataclasses

import click

from pgqueue.cli.base import Command, state
from pgqueue.cli.operate import report
from pgqueue.cli.output import emit, note


@click.command(
    cls=Command,
    examples=(
        "pgqueue migrate --dry-run",
        "pgqueue migrate",
        "pgqueue migrate --sql > upgrade.sql",
        "pgqueue migrate --sql --all --no-transaction > V7__pgqueue.sql",
        "pgqueue migrate --app workers.market",
    ),
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--sql", "as_sql", is_flag=True, help="Print the SQL instead of running it.")
@click.option("--all", "everything", is_flag=True, help="With --sql: for a new database.")
@click.option(
    "--no-transaction", is_flag=True, help="With --sql: no BEGIN and COMMIT, for EF and Flyway."
)
@click.option("--app", metavar="PACKAGE", help="The SQL of this application instead.")
def migrate(
    *, dry_run: bool, as_sql: bool, everything: bool, no_transaction: bool, app: str | None
) -> None:
    """
    Install the schema, or bring it to this program's version.

    Everything happens in one transaction; repeating it is harmless. Needs the right to create in
    the database, no superuser. --sql prints what is pending there as plain SQL for a DBA or
    another migration tool; with --all it asks no database. --app installs the folder sql of a
    package beside it, once the schema itself is there.
    """
    from pgqueue.migrate import installed_version, migration_sql  # noqa: PLC0415
    from pgqueue.migrate import migrate as run_migration  # noqa: PLC0415

    if (everything or no_transaction) and not as_sql:
        raise click.UsageError("--all and --no-transaction go with --sql.")
    if app is not None:
        _migrate_app(
            app,
            dry_run=dry_run,
            as_sql=as_sql,
            everything=everything,
            transaction=not no_transaction,
        )
        return
    if as_sql:
        since = 0 if everything else installed_version(state().dsn)
        text = migration_sql(since=since, transaction=not no_transaction)
        emit({"since": since, "sql": text}, text.rstrip("\n"))
        return
    done = run_migration(state().dsn, dry_run=dry_run)
    # A new schema is all changes: hundreds of lines that tell nothing.
    told = done if done.found else dataclasses.replace(done, changes=())
    emit(dataclasses.asdict(done), "\n".join(told.lines()))
    if not dry_run and done.found == 0:
        note("Next: `pgqueue doctor`, then `pgqueue worker --app YOUR.MODULE`.")


def _migrate_app(
    app: str, *, dry_run: bool, as_sql: bool, everything: bool, transaction: bool
) -> None:
    from pgqueue.migrate_app import app_migration_sql, migrate_app  # noqa: PLC0415

    if as_sql:
        since, text = app_migration_sql(
            app, state().dsn, everything=everything, transaction=transaction
        )
        emit({"since": since, "sql": text}, text.rstrip("\n"))
        return
    done = migrate_app(app, state().dsn, dry_run=dry_run)
    emit(dataclasses.asdict(done), "\n".join(done.lines()))


@click.command(cls=Command, examples=("pgqueue doctor", "pgqueue doctor --verify --json"))
@click.option("--verify", is_flag=True, help="Also check every job's place; reads all of them.")
def doctor(*, verify: bool) -> None:
    """
    Examine the server, the schema and the queue; say what to do.

    Changes nothing. Asks whether the server keeps what it commits, whether NOTIFY gets through,
    whether somebody changed the schema, what holds vacuum back. Exits with 1 if a check fails.
    """
    from pgqueue.doctor import doctor as examine  # noqa: PLC0415

    report(examine(state().dsn, verify=verify))
