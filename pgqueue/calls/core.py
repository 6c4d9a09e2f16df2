"""
How a SQL function is called: one definition each, run by synchronous and asynchronous code alike.

A function of this package builds a `Call`; `run` and `run_async` execute it. What takes several
calls with decisions in between is a generator that yields them, driven by `drive` and
`drive_async`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar, cast

import psycopg
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import set_json_loads

from pgqueue.calls.claimed import adapt_raw
from pgqueue.errors import DatabaseUnavailable, InvalidArgument, PgqueueError, from_psycopg

__all__ = [
    "Call",
    "Pause",
    "Row",
    "Script",
    "drive",
    "drive_async",
    "lenient_loads",
    "nothing",
    "records",
    "run",
    "run_async",
    "scalar",
    "translated",
]

T = TypeVar("T")
Row: TypeAlias = Any  # a tuple, or a dict when Call.by_name


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    One call of a function, or one look at a view.

    Attributes:
        sql: The statement.
        params: Its parameters.
        decode: Makes the answer of the rows.
        by_name: Rows are dicts, and JSON that Python cannot load stays text: for views.
        repeatable: A second execution changes nothing more: it may follow a lost reply.
        raw: Rows come in binary, UUIDs as bytes and times as numbers, see pgqueue.calls.claimed.
    """

    sql: str | bytes
    params: tuple[Any, ...] | dict[str, Any]
    decode: Callable[[list[Row]], T]
    by_name: bool = False
    repeatable: bool = False
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """A script's wish to be resumed after so many seconds."""

    seconds: float


# Yields calls and pauses, is sent their answers (or thrown their errors), and returns its own.
Script: TypeAlias = Generator[Call[Any] | Pause, Any, T]


def run(conn: psycopg.Connection[Any], call: Call[T]) -> T:
    """
    Execute *call*.

    Raises:
        PgqueueError: What the database refused, translated; other errors are psycopg's own.
    """
    try:
        with _transaction(conn), conn.cursor(binary=call.raw, row_factory=_rows(call)) as cursor:
            _adapt(cursor, call)
            cursor.execute(_statement(call), call.params or None)
            return call.decode(cursor.fetchall())
    except psycopg.Error as exc:
        raise translated(exc) from exc


async def run_async(conn: psycopg.AsyncConnection[Any], call: Call[T]) -> T:
    """As `run`, for asyncio."""
    try:
        async with (
            _async_transaction(conn),
            conn.cursor(binary=call.raw, row_factory=_rows(call)) as cursor,
        ):
            _adapt(cursor, call)
            await cursor.execute(_statement(call), call.params or None)
            return call.decode(await cursor.fetchall())
    except psycopg.Error as exc:
        raise translated(exc) from exc


def drive(
    execute: Callable[[Call[Any]], Any],
    script: Script[T],
    *,
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """
    Run *script* to its end.

    Args:
        execute: Runs one call.
        script: What to run.
        pause: Waits for so many seconds; it may return earlier.
    """
    resume: Callable[[], Call[Any] | Pause] = partial(next, script)
    while True:
        try:
            wish = resume()
        except StopIteration as done:
            return cast("T", done.value)
        if isinstance(wish, Pause):
            pause(wish.seconds)
            resume = partial(script.send, None)
            continue
        try:
            resume = partial(script.send, execute(wish))
        except PgqueueError as exc:
            resume = partial(script.throw, exc)


async def drive_async(
    execute: Callable[[Call[Any]], Awaitable[Any]],
    script: Script[T],
    *,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """As `drive`; *execute* and *pause* return awaitables."""
    resume: Callable[[], Call[Any] | Pause] = partial(next, script)
    while True:
        try:
            wish = resume()
        except StopIteration as done:
            return cast("T", done.value)
        if isinstance(wish, Pause):
            await pause(wish.seconds)
            resume = partial(script.send, None)
            continue
        try:
            resume = partial(script.send, await execute(wish))
        except PgqueueError as exc:
            resume = partial(script.throw, exc)


def translated(exc: psycopg.Error) -> Exception:
    """*exc* as an error of ours where there is one for it, else itself."""
    ours = from_psycopg(exc)
    if ours is not None:
        return ours
    if isinstance(exc, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        return DatabaseUnavailable(
            exc.diag.message_primary or "the statement was cancelled",
            hint="Look for locks and for load in pgqueue.health, then try again.",
        )
    if isinstance(exc, psycopg.DataError) and exc.sqlstate is None:
        # psycopg itself refused a parameter, such as text that holds a NUL.
        return InvalidArgument(str(exc))
    return exc


def _rows(call: Call[Any]) -> Any:
    # Said at each call: a connection of the caller may have any row factory.
    return dict_row if call.by_name else tuple_row


def _statement(call: Call[Any]) -> bytes:
    return call.sql if isinstance(call.sql, bytes) else call.sql.encode()


def _adapt(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any], call: Call[Any]) -> None:
    if call.by_name:
        set_json_loads(lenient_loads, context=cursor)
    if call.raw and not getattr(cursor.connection, "raw", False):
        adapt_raw(cursor)


def lenient_loads(data: str | bytes) -> Any:
    """Load JSON; what Python refuses (5,000 digits, 1,000 levels) is returned as its text."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data if isinstance(data, str) else data.decode()


def _pooled(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    # Behind a pooler the session's default isolation cannot be set: each call says it itself.
    return bool(getattr(conn, "pooled", False))


def _transaction(conn: psycopg.Connection[Any]) -> AbstractContextManager[object]:
    return conn.transaction() if _pooled(conn) else nullcontext()


def _async_transaction(conn: psycopg.AsyncConnection[Any]) -> AbstractAsyncContextManager[object]:
    return conn.transaction() if _pooled(conn) else nullcontext()


def scalar(rows: list[Row]) -> Any:
    """Decode the one value."""
    return rows[0][0]


def nothing(_rows: list[Row]) -> None:
    """Decode the answer of a function that returns void."""


def records(kind: Callable[..., T]) -> Callable[[list[Row]], list[T]]:
    """Decode rows whose columns are the fields of *kind*, in its order."""

    def decode(rows: list[Row]) -> list[T]:
        return [kind(*row) for row in rows]

    return decode
