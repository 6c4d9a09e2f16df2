"""PgQueuer: asyncpg is its fastest driver; batches are dequeued and their completions logged."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from tests.bench.peers import protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

_BATCH = 500
_BUSY = "select exists (select from pgqueuer)"


async def _connected(stack: AsyncExitStack) -> Queries:
    connection = await asyncpg.connect(protocol.DSN)
    stack.push_async_callback(connection.close)
    return Queries(AsyncpgDriver(connection))


class PgqueuerPeer:
    """See `protocol.Peer`."""

    module = "tests.bench.peers.pgqueuer_peer"
    bulk_jobs = 1_000

    async def setup(self) -> dict[str, str]:
        """Install; all tables durable, its default."""
        connection = await asyncpg.connect(protocol.DSN)
        try:
            await Queries(AsyncpgDriver(connection)).install()
        finally:
            await connection.close()
        told = f"asyncpg, batch_size {_BATCH}, durable, uvloop"
        return {"version": metadata.version("pgqueuer"), "settings": told}

    async def producer(self, stack: AsyncExitStack) -> Callable[[float], Awaitable[Any]]:
        """`enqueue` of one."""
        queries = await _connected(stack)
        return lambda sent: queries.enqueue("bench", str(sent).encode())

    async def bulk(self, stack: AsyncExitStack) -> Callable[[int], Awaitable[Any]]:
        """`enqueue` of lists."""
        queries = await _connected(stack)
        return lambda count: queries.enqueue(["bench"] * count, [b"0"] * count, [0] * count)

    async def unfinished(self, stack: AsyncExitStack) -> Callable[[], Awaitable[bool]]:
        """By the table: finished jobs are deleted from it."""
        connection = await asyncpg.connect(protocol.DSN)
        stack.push_async_callback(connection.close)

        async def look() -> bool:
            return bool(await connection.fetchval(_BUSY))

        return look

    async def work(self) -> None:
        """One worker."""
        connection = await asyncpg.connect(protocol.DSN)
        queue = PgQueuer(AsyncpgDriver(connection))

        @queue.entrypoint("bench")
        async def run(job: Any) -> None:
            protocol.stamp(float(job.payload or b"0"))

        await queue.run(batch_size=_BATCH)


if __name__ == "__main__":
    protocol.main(PgqueuerPeer())
