"""pgqueue itself, through its Python client, measured by the same code as the others."""

from __future__ import annotations

import asyncio
from importlib import metadata
from typing import TYPE_CHECKING, Any

from pgqueue import AsyncClient, NewJob
from pgqueue.connection import connect_async
from pgqueue.migrate import migrate
from pgqueue.registry import Registry
from pgqueue.worker import Worker
from tests.bench.peers import protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

_CONCURRENCY = 500
_BUSY = "select exists (select from pgqueue.ready) or exists (select from pgqueue.running)"

registry = Registry("bench")


@registry.job("bench_stamp")
async def _run(sent: float) -> None:
    protocol.stamp(sent)


class PgqueuePeer:
    """See `protocol.Peer`."""

    module = "tests.bench.peers.pgqueue_peer"
    bulk_jobs = 1_000

    async def setup(self) -> dict[str, str]:
        """Install."""
        await asyncio.to_thread(migrate, protocol.DSN)
        return {"version": metadata.version("pgqueue"), "settings": f"concurrency {_CONCURRENCY}"}

    async def producer(self, stack: AsyncExitStack) -> Callable[[float], Awaitable[Any]]:
        """One connection; what the client does."""
        client = await stack.enter_async_context(AsyncClient(protocol.DSN, pool_size=1))
        return lambda sent: client.enqueue("bench_stamp", {"sent": sent})

    async def bulk(self, stack: AsyncExitStack) -> Callable[[int], Awaitable[Any]]:
        """`enqueue_many`."""
        client = await stack.enter_async_context(AsyncClient(protocol.DSN, pool_size=1))
        return lambda count: client.enqueue_many(
            [NewJob(job_type="bench_stamp", payload={"sent": 0}) for _ in range(count)]
        )

    async def unfinished(self, stack: AsyncExitStack) -> Callable[[], Awaitable[bool]]:
        """By the tables."""
        connection = await connect_async(protocol.DSN)
        stack.push_async_callback(connection.close)

        async def look() -> bool:
            cursor = await connection.execute(_BUSY)
            return bool((await cursor.fetchall())[0][0])

        return look

    async def work(self) -> None:
        """One worker."""
        await Worker(registry, dsn=protocol.DSN, concurrency=_CONCURRENCY).run()


if __name__ == "__main__":
    protocol.main(PgqueuePeer())
