"""
The calls that a worker makes for every batch, straight through libpq.

A claim that found one job after 100 ms of idleness took 1,530 microseconds through a cursor, 650 of
them the client's CPU; like this 1,190 and 300. What is left out: the cursor, choosing adapters by
the type of each value, a task per wait. Prepared at first use, rows in binary.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format

from pgqueue.calls import translated
from pgqueue.calls.claimed import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.pq.abc import PGresult

    from pgqueue.calls import Call

__all__ = ["Wire"]

T = TypeVar("T")

_OK = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})
# DISCARD ALL, or a function that was replaced by one with other columns: prepare again.
_FORGET = frozenset({"26000", "0A000"})


class Wire:
    """
    One connection's.

    Args:
        conn: In autocommit, with the adapters of pgqueue.calls.claimed, and without a pooler. One
            call at a time; nothing else uses it meanwhile.
    """

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self._conn = conn
        self._pgconn = conn.pgconn
        self._names: dict[str | bytes, bytes] = {}
        self._prepared = 0
        self._rows = Transformer(conn)
        self._until = 0.0

    async def call(self, call: Call[T], *, seconds: float) -> T:
        """
        Execute *call*, as run_async() does; after *seconds* the connection is closed.

        Raises:
            PgqueueError: What the database refused, translated; other errors are psycopg's own.
        """
        self._until = asyncio.get_running_loop().time() + seconds
        try:
            name = self._names.get(call.sql) or await self._prepare(call.sql)
            values, formats = _encoded(tuple(call.params))
            self._pgconn.send_query_prepared(name, values, formats, result_format=Format.BINARY)
            result = await self._answer()
        except TimeoutError:
            self._pgconn.finish()
            raise psycopg.OperationalError(
                f"no answer from the server within {seconds:g} s"
            ) from None
        except psycopg.Error as exc:
            if exc.sqlstate in _FORGET:
                self._names.clear()
            raise translated(exc) from exc
        self._rows.set_pgresult(result, format=Format.BINARY)
        return call.decode(self._rows.load_rows(0, result.ntuples, tuple))

    async def _prepare(self, sql: str | bytes) -> bytes:
        # A new name each time: nobody need know whether the server still has the old one.
        self._prepared += 1
        name = b"pgqueue_%d" % self._prepared
        parts = (sql if isinstance(sql, bytes) else sql.encode()).split(b"%s")
        numbered = [b"%b$%d" % (part, number) for number, part in enumerate(parts[:-1], 1)]
        self._pgconn.send_prepare(name, b"".join((*numbered, parts[-1])))
        await self._answer()
        self._names[sql] = name
        return name

    async def _answer(self) -> PGresult:
        """
        Wait for the whole answer: what fails at commit comes behind the rows.

        Raises:
            TimeoutError: It did not come in time.
        """
        pgconn = self._pgconn
        while pgconn.flush():
            # Read as well: a server that cannot send its notices does not read either.
            await self._ready(writing=True)
            pgconn.consume_input()
        first: PGresult | None = None
        error: psycopg.Error | None = None
        while True:
            while pgconn.is_busy():
                await self._ready()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            first = first or result
            if result.status not in _OK:
                error = psycopg.errors.error_from_result(result, self._conn.info.encoding)
        if error is not None:
            raise error
        assert first is not None
        return first

    async def _ready(self, *, writing: bool = False) -> None:
        """Wait until the socket can be read, or also until it can be written."""
        loop = asyncio.get_running_loop()
        # Not asked again: a connection that dies meanwhile has forgotten its number.
        socket = self._pgconn.socket
        waiter = loop.create_future()
        timer = loop.call_at(self._until, _settle, waiter, TimeoutError())
        loop.add_reader(socket, _settle, waiter)
        if writing:
            loop.add_writer(socket, _settle, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            loop.remove_reader(socket)
            if writing:
                loop.remove_writer(socket)


def _settle(waiter: asyncio.Future[None], error: Exception | None = None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)


def _encoded(params: Sequence[Any]) -> tuple[list[bytes | None], list[int]]:
    """Encode parameters, and say which of them are in binary; the server knows their types."""
    values: list[bytes | None] = []
    formats: list[int] = []
    for value in params:
        binary = isinstance(value, Array)
        formats.append(binary)
        values.append(value.encoded if binary else None if value is None else str(value).encode())
    return values, formats
