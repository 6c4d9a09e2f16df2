"""awa with its queue storage: quicker bulk inserts than its first tables, a slower drain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awa

from tests.bench.peers import protocol
from tests.bench.peers.awa_peer import URL, AwaPeer, BenchJob

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack


class AwaQueuePeer(AwaPeer):
    """See `protocol.Peer`."""

    module = "tests.bench.peers.awa_queue_peer"

    async def setup(self) -> dict[str, str]:
        """Install, and choose the queue storage."""
        found = await super().setup()
        async with awa.AsyncClient(URL) as client:
            await client.install_queue_storage()
        told = found["settings"].replace("insert_many_copy", "enqueue_many_copy")
        return {**found, "settings": f"queue storage, {told}"}

    async def bulk(self, stack: AsyncExitStack) -> Callable[[int], Awaitable[Any]]:
        """`enqueue_many_copy`."""
        client = await stack.enter_async_context(awa.AsyncClient(URL, 1))
        return lambda count: client.enqueue_many_copy([BenchJob(0.0)] * count)


if __name__ == "__main__":
    protocol.main(AwaQueuePeer())
