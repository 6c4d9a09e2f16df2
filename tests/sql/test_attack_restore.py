"""What pg_dump writes and a restore reads back is the same schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from tests.support.sqljobs import Db


def test_views_read_back_from_a_dump_are_no_drift(db: Db) -> None:
    """pg_dump prints a view by pg_get_viewdef(), which writes out what was left implicit."""
    views = db.execute(
        """select c.relname, pg_get_viewdef(c.oid) from pg_class c
           where c.relnamespace = 'pgqueue'::regnamespace and c.relkind = 'v'"""
    ).fetchall()
    for name, definition in views:
        statement = "create or replace view pgqueue.{} with (security_invoker = true) as "
        db.execute(sql.SQL(statement).format(sql.Identifier(name)) + sql.SQL(definition))

    assert len(views) > 5
    assert db.execute("select kind, name, drift from pgqueue.drift()").fetchall() == []
