"""One connection that is sent statements without waiting for the answer."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import pq

if TYPE_CHECKING:
    from tests.support.sqljobs import Db


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to a step: the rows of its last query, values as text."""

    rows: list[dict[str, str | None]]
    sqlstate: str | None = None
    message: str = ""

    @property
    def value(self) -> str | None:
        """The only value of the only row; None if there is no row."""
        return next(iter(self.rows[0].values())) if self.rows else None


class Wire:
    """One connection that is sent statements without waiting for the answer."""

    def __init__(self, conn: Db) -> None:
        self._conn = conn  # closed with the last reference
        self.pid = conn.info.backend_pid
        self._pg = conn.pgconn
        self._pg.exec_(b"listen pgqueue")

    def send(self, statements: str) -> None:
        """Send, and return at once."""
        self._pg.send_query(statements.encode())

    def answer(self, seconds: float = 0.0) -> Answer | None:
        """The answer to what was sent, if it comes within *seconds*."""
        deadline = time.monotonic() + seconds
        self._pg.consume_input()
        while self._pg.is_busy():
            if not select.select([self._pg.socket], [], [], max(deadline - time.monotonic(), 0))[0]:
                return None
            self._pg.consume_input()
        rows: list[dict[str, str | None]] = []
        failure: pq.abc.PGresult | None = None
        while (result := self._pg.get_result()) is not None:
            if result.status == pq.ExecStatus.TUPLES_OK:
                rows = _rows(result)
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                failure = result
        if failure is None:
            return Answer(rows)
        state = failure.error_field(pq.DiagnosticField.SQLSTATE) or b""
        return Answer([], state.decode(), failure.get_error_message())

    def reset(self) -> None:
        """End what is left open: a transaction, session locks, notifications."""
        if self._pg.transaction_status != pq.TransactionStatus.IDLE:
            self._pg.exec_(b"rollback")
        self._pg.exec_(b"select pg_advisory_unlock_all()")
        self.heard()

    def heard(self) -> list[str]:
        """The notifications that have come in; an answer brings those that came before it."""
        self._pg.exec_(b"select")
        found = []
        while (notify := self._pg.notifies()) is not None:
            found.append(notify.extra.decode())
        return found


def _rows(result: pq.abc.PGresult) -> list[dict[str, str | None]]:
    names = [(result.fname(n) or b"").decode() for n in range(result.nfields)]
    return [
        {
            name: None if (found := result.get_value(row, n)) is None else found.decode()
            for n, name in enumerate(names)
        }
        for row in range(result.ntuples)
    ]
