"""Procrastinate: one job per query; concurrency and its pool of connections are what can be set."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import procrastinate
import psycopg

from tests.bench.peers import protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

_CONCURRENCY = 50
_BUSY = "select exists (select from procrastinate_jobs where status in ('todo', 'doing'))"


def _app(size: int) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=protocol.DSN, min_size=size, max_size=size)
    app = procrastinate.App(connector=connector)
    app.task(_run, name="bench")
    return app


async def _run(sent: float) -> None:
    protocol.stamp(sent)


class ProcrastinatePeer:
    """See `protocol.Peer`."""

    module = "tests.bench.peers.procrastinate_peer"
    bulk_jobs = 1_000

    async def setup(self) -> dict[str, str]:
        """Install."""
        app = _app(1)
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
        told = f"concurrency {_CONCURRENCY}, listen_notify, jobs kept, psycopg binary, uvloop"
        return {"version": metadata.version("procrastinate"), "settings": told}

    async def producer(self, stack: AsyncExitStack) -> Callable[[float], Awaitable[Any]]:
        """`defer_async`."""
        app = _app(1)
        await stack.enter_async_context(app.open_async())
        task = app.tasks["bench"]
        return lambda sent: task.defer_async(sent=sent)

    async def bulk(self, stack: AsyncExitStack) -> Callable[[int], Awaitable[Any]]:
        """`batch_defer_async`."""
        app = _app(1)
        await stack.enter_async_context(app.open_async())
        task = app.tasks["bench"]
        return lambda count: task.batch_defer_async(*({"sent": 0.0} for _ in range(count)))

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
        app = _app(10)
        async with app.open_async():
            await app.run_worker_async(concurrency=_CONCURRENCY, delete_jobs="never")


if __name__ == "__main__":
    protocol.main(ProcrastinatePeer())
