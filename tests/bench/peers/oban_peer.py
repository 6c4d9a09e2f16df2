"""Oban for Python: one producer per queue and process; it acknowledges and fetches in batches."""

from __future__ import annotations

import asyncio
from importlib import metadata
from typing import TYPE_CHECKING, Any

import psycopg
from oban import Oban, job
from oban.schema import install

from tests.bench.peers import protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

_CONCURRENCY = 500
_CONNECTIONS = 10
_BUSY = (
    "select exists (select from oban_jobs"
    " where state in ('available', 'scheduled', 'executing', 'retryable'))"
)


@job(queue="default")
async def run_job(sent: float) -> None:
    """Note the time. Its name is stored with the job."""
    protocol.stamp(sent)


async def _opened(stack: AsyncExitStack, size: int, **options: Any) -> Oban:
    pool = await Oban.create_pool(protocol.DSN, min_size=size, max_size=size)
    stack.push_async_callback(pool.close)
    return await stack.enter_async_context(Oban(pool=pool, **options))


class ObanPeer:
    """See `protocol.Peer`."""

    module = "tests.bench.peers.oban_peer"
    bulk_jobs = 1_000

    async def setup(self) -> dict[str, str]:
        """Install."""
        pool = await Oban.create_pool(protocol.DSN)
        try:
            await install(pool)
        finally:
            await pool.close()
        told = (
            f"limit {_CONCURRENCY}, {_CONNECTIONS} connections, jobs kept, psycopg binary, uvloop"
        )
        return {"version": metadata.version("oban"), "settings": told}

    async def producer(self, stack: AsyncExitStack) -> Callable[[float], Awaitable[Any]]:
        """`enqueue`."""
        oban = await _opened(stack, 1)
        return lambda sent: oban.enqueue(_named(sent))

    async def bulk(self, stack: AsyncExitStack) -> Callable[[int], Awaitable[Any]]:
        """`enqueue_many`."""
        oban = await _opened(stack, 1)
        return lambda count: oban.enqueue_many(_named(0.0) for _ in range(count))

    async def unfinished(self, stack: AsyncExitStack) -> Callable[[], Awaitable[bool]]:
        """By the table."""
        connection = await psycopg.AsyncConnection.connect(protocol.DSN, autocommit=True)
        stack.push_async_callback(connection.close)

        async def look() -> bool:
            cursor = await connection.execute(_BUSY)
            return bool((await cursor.fetchall())[0][0])

        return look

    async def work(self) -> None:
        """One worker."""
        pool = await Oban.create_pool(protocol.DSN, min_size=_CONNECTIONS, max_size=_CONNECTIONS)
        async with Oban(pool=pool, queues={"default": _CONCURRENCY}):
            await asyncio.Event().wait()


def _named(sent: float) -> Any:
    # This module runs as __main__, which a worker could not import by that name.
    from tests.bench.peers import oban_peer  # noqa: PLC0415, PLW0406

    return oban_peer.run_job.new(sent)


if __name__ == "__main__":
    # The worker imports the handler under this name; it must share the stamps.
    from tests.bench.peers.oban_peer import ObanPeer as _Peer

    protocol.main(_Peer())
