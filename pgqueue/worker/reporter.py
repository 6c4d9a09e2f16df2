"""
Reports at the same time as claims: under load one connection is what a worker waits for.

The server spends as long on a job's claim as on its completion. While claims come back full the
endings go over a second connection, so that two of its processes work for one of ours: a drain of
60,000 jobs by one process went from 25,900 and 24,000 to 41,300 and 37,900 jobs/s. Several workers
keep the server busy as it is: four with eight connections cost it 39 microseconds of CPU a job
instead of 31 (4 cores). The connection is opened when it is first of use and closed at rest; when
it fails the endings go with the claims again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg

from pgqueue.errors import PgqueueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgqueue.worker.link import Link
    from pgqueue.worker.outbox import Outbox

__all__ = ["Reporter"]

# More endings wait while others are on their way: then the next claim waits, too.
BEHIND_MAX = 1_000
# Above this the worker has no need of it.
WORKERS_MAX = 2
# Fewer are not worth a round trip of their own.
BATCH_MIN = 50
# After a failure: the next exchange says what is wrong, or repeats it.
PAUSE_SECONDS = 1.0


class Reporter:
    """
    Sends one batch of an outbox at a time.

    Args:
        link: A connection that nobody else uses.
        outbox: Nobody else takes from it between `helps` and `settled`.
        workers: How many there are.
        on_settled: Called when a batch has arrived, or has not.
    """

    def __init__(
        self,
        link: Link,
        outbox: Outbox,
        *,
        workers: Callable[[], int],
        on_settled: Callable[[], None],
    ) -> None:
        self._link = link
        self._outbox = outbox
        self._workers = workers
        self._on_settled = on_settled
        self._task: asyncio.Task[None] | None = None
        self._pause_until = 0.0

    def helps(self) -> bool:
        """Report what there is, meanwhile; False: the caller must, once this has settled."""
        if self._task is not None:
            return self._outbox.waiting <= BEHIND_MAX
        if self._workers() > WORKERS_MAX or time.monotonic() < self._pause_until:
            return False
        if self._outbox.waiting >= BATCH_MIN:
            self._task = asyncio.get_running_loop().create_task(self._report())
        return True

    async def settled(self) -> None:
        """Wait until nothing is on its way."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def rest(self) -> None:
        """Close the connection: there is no use for it now."""
        if self._task is None:
            self._link.drop()

    async def close(self) -> None:
        """Give up what is on its way."""
        if self._task is not None:
            self._task.cancel()
            await self.settled()
        self._link.drop()

    async def _report(self) -> None:
        try:
            # It keeps what did not arrive.
            while self._outbox.waiting >= BATCH_MIN:
                await self._outbox.report(self._link)
        except (PgqueueError, psycopg.Error, OSError):
            self._pause_until = time.monotonic() + PAUSE_SECONDS
        finally:
            self._task = None
            self._on_settled()
