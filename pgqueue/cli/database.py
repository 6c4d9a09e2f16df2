"""The database for commands: our functions by name, our views by plain selects."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg import sql

from pgqueue.calls.core import Call, run
from pgqueue.cli.base import state
from pgqueue.cli.output import note
from pgqueue.connection import connect
from pgqueue.dsn import Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg
    from psycopg.sql import Composable

T = TypeVar("T")


class Database:
    """
    One autocommit connection.

    Args:
        connection: Opened by `connected`.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def run(self, call: Call[T]) -> T:
        """Execute one of our functions, as `pgqueue.calls` defines them."""
        return run(self.connection, call)

    def view(
        self,
        name: str,
        columns: Sequence[str] = (),
        *,
        where: Mapping[str, Any] | None = None,
        order: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """
        Rows of one of our views.

        Args:
            name: In the schema pgqueue.
            columns: Which; none for all.
            where: Column and the value that it equals; a tuple means any of them, None no filter.
            order: A column, and ` desc` if wanted.
            limit: At most this many rows.
        """
        given = {name: value for name, value in (where or {}).items() if value not in (None, ())}
        parts: list[Composable] = [
            sql.SQL("select {} from pgqueue.{}").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)) if columns else sql.SQL("*"),
                sql.Identifier(name),
            )
        ]
        if given:
            conditions = [
                sql.SQL("{} = any (%s)" if isinstance(value, tuple) else "{} = %s").format(
                    sql.Identifier(column)
                )
                for column, value in given.items()
            ]
            parts.append(sql.SQL("where ") + sql.SQL(" and ").join(conditions))
        if order:
            column, _, direction = order.partition(" ")
            descending = sql.SQL(" desc") if direction == "desc" else sql.SQL("")
            parts.append(sql.SQL("order by ") + sql.Identifier(column) + descending)
        if limit is not None:
            parts.append(sql.SQL("limit {}").format(sql.Literal(limit)))
        values = (list(value) if isinstance(value, tuple) else value for value in given.values())
        return self._rows(sql.SQL(" ").join(parts), *values)

    def _rows(self, query: Composable, *values: Any) -> list[dict[str, Any]]:
        text = query.as_bytes(self.connection)
        return run(self.connection, Call(text, values, list, by_name=True))


@contextmanager
def connected(*, statement_seconds: float | None = None) -> Iterator[Database]:
    """
    Connect to the database that --dsn or the environment names.

    Args:
        statement_seconds: How long one statement may take; 0 for no limit, None for the default.

    Raises:
        PgqueueError: It cannot be reached, is no primary, or has another schema version.
    """
    limits = None if statement_seconds is None else Timeouts(statement=statement_seconds)
    name = "pgqueue cli"
    with connect(state().dsn, application_name=name, timeouts=limits) as connection:
        connection.add_notice_handler(_tell)
        yield Database(connection)


def _tell(diag: psycopg.errors.Diagnostic) -> None:
    """What the server says besides its answer: a queue that nothing has named yet, say."""
    note(f"{diag.severity or 'NOTICE'}: {diag.message_primary}")
