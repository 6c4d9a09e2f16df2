"""
One of the worker's connections: it breaks and comes back, and every call over it ends.

A failed call is not repeated here: only its caller knows whether that is safe. After a failure the
link refuses calls until a pause has passed, so that callers may simply try again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, TypeVar

import psycopg

from pgqueue import log
from pgqueue.calls import run_async
from pgqueue.calls.claimed import adapt_raw
from pgqueue.errors import DatabaseUnavailable, NotPrimary, PgqueueError, SchemaMismatch
from pgqueue.worker.waiting import Backoff
from pgqueue.worker.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pgqueue.calls import Call
    from pgqueue.connection import AsyncBoundedConnection, Endpoint

__all__ = ["CALL_SECONDS", "LOCK_SECONDS", "RETRY_CAP_SECONDS", "Link", "Outages"]

T = TypeVar("T")

# A claim of 500 jobs takes milliseconds; ten seconds without an answer is an outage.
CALL_SECONDS = 10.0
LOCK_SECONDS = 2.0
CONNECT_SECONDS = 15.0
RETRY_BASE_SECONDS = 0.1
RETRY_CAP_SECONDS = 5.0
WAITING_SECONDS = 10.0

_logger = logging.getLogger("pgqueue.worker")


class Outages:
    """
    Logs one line when the first connection of a worker is lost and one when all are back.

    Before there was any connection it says that the worker waits, again every WAITING_SECONDS.

    Args:
        worker: Its name.
        quiet: Say nothing.

    Attributes:
        on_mismatch: Called when the schema turns out to be gone or of another version; links then
            refuse calls as in an outage, so that their callers stay quiet. None: it is raised.
    """

    def __init__(self, worker: str, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.on_mismatch: Callable[[SchemaMismatch], None] | None = None
        self._worker = worker
        self._reached = False
        self._down: set[str] = set()
        self._since = 0.0
        self._said_at = -WAITING_SECONDS

    def begin(self, role: str, exc: BaseException) -> None:
        """Note that the connection *role* is lost."""
        if self._quiet:
            return
        now = time.monotonic()
        first = not self._down
        self._down.add(role)
        if first:
            self._since = now
        if not self._reached and now - self._said_at < WAITING_SECONDS:
            return
        if first or not self._reached:
            self._said_at = now
            log.event(
                _logger,
                logging.WARNING,
                "database connection lost" if self._reached else "waiting for the database",
                worker=self._worker,
                connection=role,
                error=_first_line(exc),
            )

    def end(self, role: str) -> None:
        """Note that the connection *role* is there."""
        if self._quiet:
            return
        reached, self._reached = self._reached, True
        if role not in self._down:
            return
        self._down.discard(role)
        if not self._down:
            seconds = round(time.monotonic() - self._since, 3)
            log.event(
                _logger,
                logging.INFO,
                "database connection back" if reached else "database reached",
                worker=self._worker,
                outage_seconds=seconds,
            )


class Link:
    """
    A connection with a role, opened at its first call and again after it broke.

    Args:
        where: How to connect.
        role: For messages.
        outages: Where losses are noted.
        on_open: Sets a new connection up.
        retry_seconds_max: The longest pause between two attempts to connect.
    """

    def __init__(
        self,
        where: Endpoint,
        *,
        role: str,
        outages: Outages,
        on_open: Callable[[AsyncBoundedConnection], Awaitable[None]] | None = None,
        retry_seconds_max: float = RETRY_CAP_SECONDS,
    ) -> None:
        self.role = role
        self.connection: AsyncBoundedConnection | None = None
        self._wire: Wire | None = None
        self._where = where
        self._outages = outages
        self._on_open = on_open
        self._backoff = Backoff(RETRY_BASE_SECONDS, retry_seconds_max)
        self._retry_at = 0.0
        self._opened_at = 0.0
        self._lock = asyncio.Lock()

    @property
    def retry_seconds(self) -> float:
        """How long calls will still be refused."""
        return max(0.0, self._retry_at - time.monotonic())

    @property
    def age_seconds(self) -> float:
        """How long the connection has held; 0 if there is none."""
        return 0.0 if self.connection is None else time.monotonic() - self._opened_at

    async def call(self, call: Call[T], *, seconds: float = CALL_SECONDS) -> T:
        """
        Make one call; calls take turns.

        Args:
            call: From pgqueue.calls.
            seconds: The deadline; after it the connection is given up.

        Raises:
            DatabaseUnavailable: There is no connection, or it broke, or the deadline passed. What
                the call should do may have happened.
            PgqueueError: What the database refused; other errors are psycopg's own.
        """
        async with self._lock:
            try:
                conn = self.connection or await self._reopen()
                return await self._call(conn, call, seconds)
            except SchemaMismatch as exc:
                if self._outages.on_mismatch is None:
                    raise
                self.drop()
                self._retry_at = time.monotonic() + RETRY_CAP_SECONDS
                self._outages.on_mismatch(exc)
                raise DatabaseUnavailable(_first_line(exc)) from exc

    async def open(self) -> AsyncBoundedConnection:
        """
        Connect if there is no connection.

        Raises:
            PgqueueError: Why that is impossible; NotPrimary and the like are told apart.
        """
        if self.connection is None:
            async with asyncio.timeout(CONNECT_SECONDS):
                conn = await self._where.connect_async()
            adapt_raw(conn)
            conn.raw = True
            try:
                if self._on_open is not None:
                    await self._on_open(conn)
            except BaseException:
                await conn.close()
                raise
            self.connection = conn
            self._opened_at = time.monotonic()
            # Behind a pooler another session would get what is prepared.
            self._wire = None if conn.pooled else Wire(conn)
            self._backoff.reset()
            self._outages.end(self.role)
        return self.connection

    def drop(self) -> None:
        """Close the connection; the next call opens another."""
        conn, self.connection, self._wire = self.connection, None, None
        if conn is not None:
            with contextlib.suppress(Exception):
                conn.pgconn.finish()

    def lost(self, exc: BaseException) -> None:
        """Drop a connection that turned out to be dead."""
        self.drop()
        self._retry_at = time.monotonic() + self._backoff.next()
        self._outages.begin(self.role, exc)

    async def _call(self, conn: AsyncBoundedConnection, call: Call[T], seconds: float) -> T:
        conn.call_seconds = seconds
        try:
            if call.raw and self._wire is not None:
                return await self._wire.call(call, seconds=seconds)
            return await run_async(conn, call)
        except asyncio.CancelledError:
            self.drop()
            raise
        except (PgqueueError, psycopg.Error) as exc:
            if self._survives(exc, conn):
                raise
            self.lost(exc)
            raise DatabaseUnavailable(_first_line(exc)) from exc

    async def _reopen(self) -> AsyncBoundedConnection:
        if self.retry_seconds:
            raise DatabaseUnavailable(f"the {self.role} connection is lost")
        try:
            return await self.open()
        except (SchemaMismatch, asyncio.CancelledError):
            raise
        except (PgqueueError, psycopg.Error, OSError) as exc:
            # A standby, a refused password: while servers are being replaced these pass as well.
            self.lost(exc)
            raise DatabaseUnavailable(str(exc)) from exc

    @staticmethod
    def _survives(exc: PgqueueError | psycopg.Error, conn: AsyncBoundedConnection) -> bool:
        # By the connection, not by SQLSTATE: after a crash there is none.
        if conn.closed or conn.broken or isinstance(exc, NotPrimary):
            return False
        # A refusal in time leaves the connection as it was; a farewell (57P01) does not.
        return not isinstance(exc, DatabaseUnavailable) or isinstance(
            exc.__cause__, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable
        )


def _first_line(exc: BaseException) -> str:
    return str(exc).strip().partition("\n")[0] or type(exc).__name__
