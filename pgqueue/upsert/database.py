"""A table's definition, read from the catalogue."""

from __future__ import annotations

from typing import Any

import psycopg

from pgqueue.errors import InvalidArgument
from pgqueue.sqlfiles import query
from pgqueue.upsert.table import Column, Table

_KINDS = {"p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "foreign"}


def table_in(connection: psycopg.Connection[Any], name: str) -> Table:
    """
    Read a table.

    Args:
        connection: Nothing is changed there.
        name: As in SQL, `shop.prices` or `"Odd name"`.

    Raises:
        InvalidArgument: There is none, or it is no plain table.
    """
    with connection.transaction():
        try:
            found = connection.execute(query("table_named"), (name,)).fetchone()
        except psycopg.errors.InvalidName as error:
            raise InvalidArgument(f"{name!r} is no name of a table") from error
        if found is None:
            raise InvalidArgument(f"there is no table {name}", hint="Name its schema, too.")
        oid, table, schema, kind = found
        if kind != "r":
            raise InvalidArgument(
                f"{name} is {_KINDS.get(kind, 'no table')}: only plain tables tell"
                " what was created and what was updated"
            )
        connection.execute(query("table_path"))
        columns = connection.execute(query("table_columns"), (oid,)).fetchall()
        keys = connection.execute(query("table_keys"), (oid,)).fetchall()
    return Table(
        schema=schema,
        name=table,
        columns=tuple(Column(*row) for row in columns),
        keys=frozenset(tuple(key) for (key,) in keys),
    )
