"""
Hearing that a job has finished: LISTEN first, then read, then wait; a notification is only a hint.

What was lost (the connection broke, a pooler stands in between, the job did not ask) is found by
looking, at most a second later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue.errors import PgqueueError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from uuid import UUID

    from pgqueue.connection import Endpoint

__all__ = ["listening", "listening_async"]

_LISTEN = "listen pgqueue_finished"


def _names(notification: psycopg.Notify, job_id: UUID) -> bool:
    return str(job_id) in notification.payload.split(",")


@contextlib.contextmanager
def listening(where: Endpoint | None, job_id: UUID) -> Iterator[Callable[[float], None]]:
    """
    Listen on a connection of our own; yields a pause that ends early when *job_id* has finished.

    Args:
        where: None, or a pooler there: the pause just sleeps.
        job_id: The job.
    """
    connection: psycopg.Connection[Any] | None = None
    if where is not None and not where.pooler:
        with contextlib.suppress(PgqueueError, psycopg.Error):
            connection = where.connect(checked=False)

    def pause(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        if connection is not None and not connection.closed:
            with contextlib.suppress(psycopg.Error):
                for notification in connection.notifies(timeout=seconds):
                    if _names(notification, job_id):
                        return
        time.sleep(max(deadline - time.monotonic(), 0.0))

    try:
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.execute(_LISTEN)
        yield pause
    finally:
        if connection is not None:
            connection.close()


@contextlib.asynccontextmanager
async def listening_async(
    where: Endpoint | None, job_id: UUID
) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
    """As `listening`, for asyncio."""
    connection: psycopg.AsyncConnection[Any] | None = None
    if where is not None and not where.pooler:
        with contextlib.suppress(PgqueueError, psycopg.Error):
            connection = await where.connect_async(checked=False)

    async def pause(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        if connection is not None and not connection.closed:
            with contextlib.suppress(psycopg.Error):
                async for notification in connection.notifies(timeout=seconds):
                    if _names(notification, job_id):
                        return
        await asyncio.sleep(max(deadline - time.monotonic(), 0.0))

    try:
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.execute(_LISTEN)
        yield pause
    finally:
        if connection is not None:
            await connection.close()
