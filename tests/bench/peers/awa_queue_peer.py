"""
awa with its queue storage.

Whether jobs are left is asked of its own ledgers: its view awa.jobs takes seconds over a history of
20,000 jobs, and asking that ten times a second slowed its drain from 5,900 to 200 jobs/s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awa

from tests.bench.peers import protocol
from tests.bench.peers.awa_peer import URL, AwaPeer, BenchJob

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

# Enqueued and finished jobs, as it counts them per batch.
_BUSY = (
    "select (select coalesce(sum(next_lane_seq - first_lane_seq), 0) from awa.ready_segments)"
    " > (select coalesce(sum(completed_count), 0) from awa.receipt_completion_batches)"
    " + (select count(*) from awa.done_entries)"
)


class AwaQueuePeer(AwaPeer):
    """See `protocol.Peer`."""

    module = "tests.bench.peers.awa_queue_peer"
    busy = _BUSY

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
