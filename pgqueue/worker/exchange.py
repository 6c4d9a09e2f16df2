"""
The round trip: reports what has ended and claims what comes next, in one call where it can.

While one is under way endings gather; the next one takes them all. That is the batching. A claim
takes at most half of many slots: while the handlers of one half run, the server hands out the other
(no-op jobs, 500 slots: 34,400 jobs/s one after the other, 41,000 so). Nothing is claimed without a
slot to run in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from pgqueue import calls, log
from pgqueue._pause import reach
from pgqueue.errors import DatabaseUnavailable, WorkerGone
from pgqueue.worker.executor import RELEASED
from pgqueue.worker.outbox import Batch

if TYPE_CHECKING:
    from pgqueue.calls import Claimed, Exchanged
    from pgqueue.worker.executor import Executor
    from pgqueue.worker.floors import Floors
    from pgqueue.worker.link import Link
    from pgqueue.worker.membership import Membership
    from pgqueue.worker.outbox import Outbox
    from pgqueue.worker.reporter import Reporter
    from pgqueue.worker.stream import Stream

__all__ = ["Exchange"]

CLAIM_MAX = 500
# So many slots are filled by one claim: two halves would cost more than they gain. An exchange
# costs the server about as much as 50 jobs before the first one.
WHOLE_MAX = 100
# A claim that brings so many jobs and leaves more behind is worth a report at the same time.
BUSY_MIN = 200
STRAY_RETRY_SECONDS = 10.0
# A job that brings the whole server down within 0.6 s of its claim would otherwise be started again
# and again, each attempt taken back with its claim. So: flushed at first, on every new connection.
FLUSHED_SECONDS = 10.0

_logger = logging.getLogger("pgqueue.worker")


class Exchange:
    """
    Talks to the database for the engine, which says when.

    Args:
        link: The connection for claims and reports.
        membership: Who we are.
        executor: Runs what is claimed.
        outbox: Holds what is to be reported.
        reporter: Reports over a connection of its own while claims come back full.
        floors: Of our queues.
        stream: Is told of what is found.
        concurrency: How many jobs run at once.

    Attributes:
        known_empty: The last sweep found nothing; reset by who hears of something new.
    """

    def __init__(
        self,
        link: Link,
        *,
        membership: Membership,
        executor: Executor,
        outbox: Outbox,
        reporter: Reporter,
        floors: Floors,
        stream: Stream,
        concurrency: int,
    ) -> None:
        self.known_empty = False
        self._link = link
        self._membership = membership
        self._executor = executor
        self._outbox = outbox
        self._reporter = reporter
        self._floors = floors
        self._stream = stream
        self._concurrency = concurrency
        self._busy = False
        self._stray_at: float | None = None

    @property
    def lost(self) -> bool:
        """Whether there is no connection at present."""
        return self._link.connection is None

    @property
    def retry_seconds(self) -> float:
        """How long calls will still be refused."""
        return self._link.retry_seconds

    @property
    def sweep_takes_long(self) -> bool:
        """Whether jobs that rang had better not wait for it."""
        return self._floors.sweep_takes_long

    def limit(self, room: int) -> int:
        """How many jobs to claim at once into *room* free slots."""
        return min(room, CLAIM_MAX, max(WHOLE_MAX, self._concurrency // 2))

    async def claim(self, room: int, *, sweep: bool, idle: bool = False) -> int:
        """
        Report what there is and claim up to `limit` jobs; how many were found.

        An *idle* worker does not wait until the claim is on disk (sql/functions/claim.sql).
        """
        if self._stray_at is not None and time.monotonic() >= self._stray_at:
            await self._release_strays()
        floors = self._floors
        floors.rotate()
        sweep = sweep or floors.sweep_due()
        limit = self.limit(room)
        batch = await self._batch()
        began = time.monotonic()
        flush = not idle or self._link.age_seconds < FLUSHED_SECONDS
        answer = await self._call(batch, limit, None if sweep else floors.array(), flush=flush)
        reach("after_claim")
        if batch.entries:
            self._outbox.settled(batch, answer.reported)
        if sweep:
            floors.swept(time.monotonic() - began)
            self.known_empty = not answer.claimed
        full = len(answer.claimed) == limit
        # Before the handlers start: what is reported now is on its way while they run.
        self._busy = full and limit >= BUSY_MIN and self._reporter.helps()
        if answer.claimed:
            self._start(answer.claimed, began, full=full)
            if not full:
                # Handlers that need no wait end here, and the next round trip reports them. Else
                # there is more to claim: the server finds it while they run.
                await asyncio.sleep(0)
        return len(answer.claimed)

    async def report(self) -> None:
        """Report what there is, and claim nothing."""
        await self._reporter.settled()
        if self._outbox:
            await self._outbox.report(self._link)

    async def report_singly(self) -> None:
        """After a refusal: find the ending that is to blame."""
        await self._reporter.settled()
        await self._outbox.report_singly(self._link)

    async def retry_sick(self) -> None:
        """Report one of the endings that were refused alone."""
        await self._outbox.retry_sick(self._link)

    def rest(self) -> None:
        """Close what is of use under load only."""
        self._reporter.rest()

    async def close(self) -> None:
        """Give up what is on its way beside the claims."""
        await self._reporter.close()

    async def _batch(self) -> Batch:
        """What the next exchange reports: nothing while the reporter does it at the same time."""
        if self._busy:
            return Batch([])
        await self._reporter.settled()
        return self._outbox.take()

    async def _call(
        self, batch: Batch, limit: int, floors: list[int] | None, *, flush: bool
    ) -> Exchanged:
        worker, queues = self._membership.worker_id, self._floors.queues
        try:
            if not batch.entries:
                # exchange() would take 130 microseconds more for a job that woke us. It always
                # waits for its flush: the reports in it must.
                claim = calls.claim(worker, queues=queues, limit=limit, floors=floors, flush=flush)
                return calls.Exchanged([], await self._link.call(claim))
            return await self._link.call(
                calls.exchange(
                    worker,
                    queues=queues,
                    limit=limit,
                    floors=floors,
                    job_ids=batch.keys,
                    tokens=batch.tokens,
                    outcomes=batch.outcomes,
                )
            )
        except BaseException as exc:
            if batch.entries:
                self._outbox.put_back(batch)
            # The claim may have happened; what it moved is ours, and we do not know it.
            if not isinstance(exc, WorkerGone):
                self._stray_at = 0.0
            raise

    def _start(self, claimed: list[Claimed], began: float, *, full: bool) -> None:
        self._stream.found(began)
        self._floors.saw(claimed, full=full)
        for job in self._executor.start(claimed):
            # A claim asks for our types only; a job type has been renamed under us.
            self._outbox.add(job.key, job.token, RELEASED.outcome)

    async def _release_strays(self) -> None:
        known = [*self._executor.runs, *self._outbox.tokens()]
        call = calls.release_strays(self._membership.worker_id, known)
        try:
            released = await self._link.call(call)
        except DatabaseUnavailable:
            if self._link.connection is None:
                raise
            # That claim still hangs in the server, and holds its lock: work on meanwhile.
            self._stray_at = time.monotonic() + STRAY_RETRY_SECONDS
            return
        self._stray_at = None
        if released:
            log.event(
                _logger,
                logging.WARNING,
                "jobs of a lost claim released",
                worker=self._membership.name,
                jobs=released,
            )
