"""Connections for transactional handlers: opened when the first one runs."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout

from pgqueue.connection import AsyncBoundedConnection, BoundedConnection
from pgqueue.errors import DatabaseUnavailable
from pgqueue.worker import transaction

if TYPE_CHECKING:
    from pgqueue.connection import Endpoint
    from pgqueue.context import ContextHooks
    from pgqueue.handling import Ending, Route

__all__ = ["Pools"]

GET_SECONDS = 30.0
IDLE_SECONDS = 60.0
CLOSE_SECONDS = 1.0


class Pools:
    """
    One pool for async handlers and one for the others.

    Args:
        where: How to connect.
        size: At most so many connections each.
    """

    def __init__(self, where: Endpoint, size: int) -> None:
        self._where = where
        self._size = size
        self._settings: dict[str, Any] = {  # of both
            "conninfo": where.conninfo,
            "kwargs": where.arguments,
            "min_size": 0,
            "max_size": size,
            "max_idle": IDLE_SECONDS,
            "timeout": GET_SECONDS,
        }
        self._async_pool: AsyncConnectionPool[AsyncBoundedConnection] | None = None
        self._sync_pool: ConnectionPool[BoundedConnection] | None = None
        self._lock = threading.Lock()

    async def run_async(
        self,
        carrier: transaction.Carrier,
        route: Route,
        job: Any,
        *,
        worker: str,
        hooks: ContextHooks,
    ) -> Ending:
        """
        Run an async handler in a transaction; see `transaction.run_async`.

        Raises:
            DatabaseUnavailable: There is no connection; the handler has not begun.
        """
        pool = await self._opened()
        # Every connection may have died in an outage; one more is a new one.
        for _ in range(self._size + 1):
            try:
                conn = await pool.getconn()
            except (PoolTimeout, PoolClosed) as exc:
                raise DatabaseUnavailable(f"no connection for the handler: {exc}") from exc
            try:
                return await transaction.run_async(
                    conn, carrier, route, job, worker=worker, hooks=hooks
                )
            except transaction.Stale:
                continue
            finally:
                await pool.putconn(conn)
        raise DatabaseUnavailable("no connection for the handler works")

    def run_sync(
        self,
        carrier: transaction.Carrier,
        route: Route,
        job: Any,
        *,
        worker: str,
        hooks: ContextHooks,
    ) -> Ending:
        """As `run_async`, for a synchronous handler, in its thread."""
        pool = self._opened_sync()
        for _ in range(self._size + 1):
            try:
                conn = pool.getconn()
            except (PoolTimeout, PoolClosed) as exc:
                raise DatabaseUnavailable(f"no connection for the handler: {exc}") from exc
            try:
                return transaction.run_sync(conn, carrier, route, job, worker=worker, hooks=hooks)
            except transaction.Stale:
                continue
            finally:
                pool.putconn(conn)
        raise DatabaseUnavailable("no connection for the handler works")

    async def close(self) -> None:
        """Close both; what still runs loses its connection."""
        if self._async_pool is not None:
            await self._async_pool.close(timeout=CLOSE_SECONDS)
        if self._sync_pool is not None:
            await asyncio.to_thread(self._sync_pool.close, timeout=CLOSE_SECONDS)

    async def _opened(self) -> AsyncConnectionPool[AsyncBoundedConnection]:
        if self._async_pool is None:
            self._async_pool = AsyncConnectionPool(
                connection_class=AsyncBoundedConnection,
                configure=self._where.prepare_async,
                open=False,
                name="pgqueue-async",
                **self._settings,
            )
            await self._async_pool.open()
        return self._async_pool

    def _opened_sync(self) -> ConnectionPool[BoundedConnection]:
        with self._lock:
            if self._sync_pool is None:
                self._sync_pool = ConnectionPool(
                    connection_class=BoundedConnection,
                    configure=self._where.prepare,
                    open=True,
                    name="pgqueue-sync",
                    **self._settings,
                )
            return self._sync_pool
