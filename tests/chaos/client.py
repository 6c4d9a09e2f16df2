"""One connection that comes back, and a history of what was tried over it."""

from __future__ import annotations

import itertools
import os
import random
import time
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue.connection import BoundedConnection
from tests.chaos import witness

if TYPE_CHECKING:
    from collections.abc import Callable

CALL_SECONDS = 8.0
PAUSE_SECONDS = 0.2
_numbers = itertools.count(1)


class Client:
    """One connection that comes back, and what was tried over it."""

    def __init__(self, spec: dict[str, Any], variable: str = "PGQUEUE_DSN") -> None:
        self.spec = spec
        self.draw = random.Random(spec["seed"])  # noqa: S311
        self.slow = bool(spec.get("slow"))
        self.done = 0
        self._dsn = os.environ[variable]
        self._conn: BoundedConnection | None = None

    @property
    def conn(self) -> BoundedConnection:
        """The connection; opened when it is needed."""
        if self._conn is None or self._conn.closed or self._conn.broken:
            self.drop()
            self._conn = BoundedConnection.connect(self._dsn, autocommit=True)
            self._conn.call_seconds = CALL_SECONDS
        return self._conn

    def drop(self) -> None:
        """Give the connection up."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _roll_back(self, conn: BoundedConnection) -> None:
        try:
            conn.execute("rollback")
        except psycopg.Error:
            self.drop()

    def attempt(
        self, f: str, act: Callable[[BoundedConnection], dict[str, Any] | None], **what: Any
    ) -> bool:
        """
        Do something in a transaction and record how it went; whether it was acknowledged.

        Args:
            f: What, in the history.
            act: Given the connection; its answer goes into the ok event. Raises Undo to roll back.
            what: Ids, for the invoke event.
        """
        n = next(_numbers)
        try:
            conn = self.conn
        except (psycopg.Error, OSError):
            time.sleep(PAUSE_SECONDS)
            return False
        warned: list[str] = []
        hear = _warnings(warned)
        conn.add_notice_handler(hear)
        committing = False
        witness.record(f, "invoke", n=n, **what)
        try:
            conn.execute("begin")
            answer = act(conn) or {}
            row = conn.execute("select pg_current_xact_id()::text").fetchone()
            assert row is not None
            witness.record(f, "commit", n=n, xid=row[0])
            committing = True
            conn.execute("commit")
        except Undo:
            self._roll_back(conn)
            witness.record(f, "fail", n=n, error="rolled back")
            return True
        except psycopg.Error as exc:
            # Without a SQLSTATE the server has said nothing: it may have committed.
            unsure = committing and (conn.closed or conn.broken or exc.sqlstate is None)
            witness.record(f, "info" if unsure else "fail", n=n, error=str(exc).strip())
            self._roll_back(conn)
            return False
        finally:
            conn.remove_notice_handler(hear)
        # Synchronous replication was given up while it waited: durable here, perhaps nowhere else.
        witness.record(f, "info" if warned else "ok", n=n, warned=warned, **answer)
        return True


class Undo(Exception):
    """Roll back what was done, on purpose."""


def _warnings(heard: list[str]) -> Callable[[psycopg.errors.Diagnostic], None]:
    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.sqlstate == "01000":
            heard.append(diagnostic.message_primary or "")

    return hear
