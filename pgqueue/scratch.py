"""Databases that live as long as a `with` block: for the demo and for users' tests."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgqueue.connection import connect
from pgqueue.dsn import Timeouts
from pgqueue.errors import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["scratch_database"]

# A clone copies files and a drop waits for a checkpoint: longer than other statements may take.
_TIMEOUTS = Timeouts(statement=120, lock=60)


@contextmanager
def scratch_database(
    dsn: str, *, prefix: str, template: str | None = None, keep: bool = False
) -> Iterator[str]:
    """
    Create a database; drop it at the end, whoever is still connected.

    Args:
        dsn: Leads to any database of the server; may be empty if the environment has the rest.
        prefix: Its name begins with this; a random part follows.
        template: The database to clone, instead of an empty one. Nobody may be connected to it.
        keep: Leave it there.

    Yields:
        Conninfo of the new database.

    Raises:
        PermissionDenied: The role may not create databases.
    """
    name = f"{prefix}_{secrets.token_hex(4)}"
    source = sql.SQL(" template {}").format(sql.Identifier(template)) if template else sql.SQL("")
    try:
        _execute(dsn, sql.SQL("create database {}{}").format(sql.Identifier(name), source))
    except psycopg.errors.InsufficientPrivilege as exc:
        raise PermissionDenied(
            "this role may not create a database on the server that the DSN names",
            hint="ALTER ROLE ... CREATEDB, name another server, or unset PGQUEUE_DSN and PG* to use"
            " an embedded one.",
        ) from exc
    try:
        yield make_conninfo(dsn, dbname=name)
    finally:
        if not keep:
            gone = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            _execute(dsn, gone)


def _execute(dsn: str, statement: sql.Composed) -> None:
    with connect(
        dsn, application_name="pgqueue scratch", timeouts=_TIMEOUTS, checked=False
    ) as connection:
        connection.execute(statement)
