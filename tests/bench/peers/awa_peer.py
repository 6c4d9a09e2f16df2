"""awa: a Rust core under Python handlers, with the tables that its migration makes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import awa
import psycopg

from tests.bench.peers import protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

# Its parser wants a host before the one in the query, which wins.
URL = protocol.DSN.replace("@/", "@localhost/")
_WORKERS = 500
_CONNECTIONS = 20
_POLL_MILLISECONDS = 50
_BUSY = (
    "select exists (select from awa.jobs"
    " where state in ('available', 'scheduled', 'running', 'retryable'))"
)


@dataclass
class BenchJob:
    """The arguments; their class names the kind of job."""

    sent: float


class AwaPeer:
    """See `protocol.Peer`."""

    module = "tests.bench.peers.awa_peer"
    bulk_jobs = 1_000
    busy = _BUSY

    async def setup(self) -> dict[str, str]:
        """Install."""
        async with awa.AsyncClient(URL) as client:
            await client.migrate()
        told = f"{_WORKERS} workers, {_CONNECTIONS} connections, insert_many_copy"
        return {"version": metadata.version("awa-pg"), "settings": told}

    async def producer(self, stack: AsyncExitStack) -> Callable[[float], Awaitable[Any]]:
        """`insert`."""
        client = await stack.enter_async_context(awa.AsyncClient(URL, 1))
        return lambda sent: client.insert(BenchJob(sent))

    async def bulk(self, stack: AsyncExitStack) -> Callable[[int], Awaitable[Any]]:
        """`insert_many_copy`."""
        client = await stack.enter_async_context(awa.AsyncClient(URL, 1))
        return lambda count: client.insert_many_copy([BenchJob(0.0)] * count)

    async def unfinished(self, stack: AsyncExitStack) -> Callable[[], Awaitable[bool]]:
        """By what it stores."""
        connection = await psycopg.AsyncConnection.connect(protocol.DSN, autocommit=True)
        stack.push_async_callback(connection.close)

        async def look() -> bool:
            cursor = await connection.execute(self.busy)
            return bool((await cursor.fetchall())[0][0])

        return look

    async def work(self) -> None:
        """One worker."""
        client = awa.AsyncClient(URL, _CONNECTIONS)

        @client.task(BenchJob)
        async def run(job: Any) -> None:
            protocol.stamp(job.args.sent)

        await client.start([("default", _WORKERS)], poll_interval_ms=_POLL_MILLISECONDS)
        await asyncio.Event().wait()


if __name__ == "__main__":
    protocol.main(AwaPeer())
