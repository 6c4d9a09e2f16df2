"""Chancy: its asyncio executor, eager polling, and outgoing updates sent ten times a second."""

from __future__ import annotations

import logging
from importlib import metadata
from typing import TYPE_CHECKING, Any

import psycopg
from chancy import Chancy, Queue, Worker, job

from tests.bench.peers import protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

_CONCURRENCY = 500
_OUTGOING_SECONDS = 0.1
_BUSY = "select exists (select from chancy_jobs where state in ('pending', 'running', 'retrying'))"


@job()
async def run_job(*, sent: float) -> None:
    """Note the time. Its name is stored with the job."""
    protocol.stamp(sent)


def _chancy() -> Chancy:
    return Chancy(protocol.DSN, log=logging.getLogger("chancy"))


class ChancyPeer:
    """See `protocol.Peer`."""

    module = "tests.bench.peers.chancy_peer"
    bulk_jobs = 1_000

    async def setup(self) -> dict[str, str]:
        """Install, and declare the queue."""
        async with _chancy() as chancy:
            await chancy.migrate()
            await chancy.declare(
                Queue(
                    name="default",
                    concurrency=_CONCURRENCY,
                    executor=Chancy.Executor.Async,
                    eager_polling=True,
                )
            )
        told = (
            f"asyncio executor, concurrency {_CONCURRENCY}, eager_polling,"
            f" send_outgoing_interval {_OUTGOING_SECONDS:g}, psycopg binary, uvloop"
        )
        return {"version": metadata.version("chancy"), "settings": told}

    async def producer(self, stack: AsyncExitStack) -> Callable[[float], Awaitable[Any]]:
        """`push`."""
        chancy = await stack.enter_async_context(_chancy())
        return lambda sent: chancy.push(_named(sent))

    async def bulk(self, stack: AsyncExitStack) -> Callable[[int], Awaitable[Any]]:
        """`push_many`."""
        chancy = await stack.enter_async_context(_chancy())

        async def push(count: int) -> None:
            async for _ in chancy.push_many([_named(0)] * count):
                pass

        return push

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
        async with _chancy() as chancy, Worker(chancy) as worker:
            worker.send_outgoing_interval = _OUTGOING_SECONDS
            await worker.wait_for_shutdown()


def _named(sent: float) -> Any:
    # This module runs as __main__, which a worker could not import by that name.
    from tests.bench.peers import chancy_peer  # noqa: PLC0415, PLW0406

    return chancy_peer.run_job.job.with_kwargs(sent=sent)


if __name__ == "__main__":
    # The worker imports the handler under this name; it must share the stamps.
    from tests.bench.peers.chancy_peer import ChancyPeer as _Peer

    protocol.main(_Peer())
