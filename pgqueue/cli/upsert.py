"""`pgqueue upsert`: write a table's upsert function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgqueue.cli.base import Command
from pgqueue.cli.output import emit

if TYPE_CHECKING:
    from pgqueue.upsert import Table


def _names(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> list[str] | None:
    from pgqueue.upsert import names_of  # noqa: PLC0415

    if value is None:
        return None
    try:
        return names_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx=context, param=parameter) from None


@click.command(
    cls=Command,
    database=False,
    examples=(
        "pgqueue upsert shop.prices --key sku > sql/upsert_prices.sql",
        "pgqueue upsert shop.stock --key depot,sku --update amount --touch updated_at",
        "pgqueue upsert shop.prices --key sku --schema sql/tables.sql --last-wins",
    ),
)
@click.argument("table")
@click.option(
    "--key", required=True, callback=_names, metavar="A,B", help="The columns of a unique index."
)
@click.option(
    "--update",
    callback=_names,
    metavar="C,D",
    help="What an existing row gets; default all that no function or sequence fills in.",
)
@click.option("--touch", metavar="COLUMN", help="Set to now() when a row is updated.")
@click.option("--last-wins", is_flag=True, help="Of rows with the same key the last counts.")
@click.option("--name", metavar="NAME", help="Instead of upsert_TABLE.")
@click.option(
    "--schema",
    metavar="DSN|FILE",
    help="Where the table is defined: a database, or a .sql file with its CREATE TABLE; default"
    " PGQUEUE_DSN.",
)
def upsert(*, table: str, schema: str | None, **options: Any) -> None:
    """
    Print a function that stores a JSON array of rows in TABLE.

    It takes the rows in one statement, creates the new ones, updates those that differ, leaves the
    others alone, and returns how many of each. Rows are locked in the order of the key, so calls do
    not deadlock. Two rows with the same key in one call are refused, unless --last-wins.
    """
    from pgqueue.upsert import upsert_function  # noqa: PLC0415

    text = upsert_function(_table(table, schema), **options)
    emit({"sql": text}, text.rstrip("\n"))


def _table(name: str, schema: str | None) -> Table:
    from pgqueue.connection import connect  # noqa: PLC0415
    from pgqueue.upsert import table_from, table_in  # noqa: PLC0415

    if schema is not None and schema.endswith(".sql"):
        try:
            return table_from(Path(schema).read_text(encoding="utf-8"), name)
        except OSError as error:
            raise click.UsageError(f"{schema}: {error.strerror}") from error
    with connect(schema, application_name="pgqueue upsert", checked=False) as connection:
        return table_in(connection, name)
