"""
The engine: one task that reports endings and claims jobs, in one round trip where it can.

    full        no free slot: report, wait for one; pass the door on
    busy        claim, run, report; while jobs keep coming
    lingering   nothing found just now, but jobs came densely: poll for a moment
    resting     at the doors: sleeps until rung, or until the next poll

While a round trip is under way endings gather; the next one takes them all. That is the batching.
A claim takes at most half of many slots: while the handlers of one half run, the server hands out
the other (no-op jobs, 500 slots: 34,400 jobs/s one after the other, 41,000 so). Nothing is claimed
without a slot to run in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import psycopg

from pgqueue import calls, log
from pgqueue._pause import reach
from pgqueue.errors import DatabaseUnavailable, PgqueueError, WorkerGone
from pgqueue.worker.executor import RELEASED
from pgqueue.worker.outbox import Batch
from pgqueue.worker.waiting import Backoff, Signal, jittered

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgqueue.calls import Claimed
    from pgqueue.worker.doorbell import Doorbell
    from pgqueue.worker.executor import Executor
    from pgqueue.worker.floors import Floors
    from pgqueue.worker.link import Link
    from pgqueue.worker.membership import Membership
    from pgqueue.worker.outbox import Outbox
    from pgqueue.worker.reporter import Reporter

__all__ = ["Engine"]

CLAIM_MAX = 500
# So many slots are filled by one claim: two halves would cost more than they gain. An exchange
# costs the server about as much as 50 jobs before the first one.
WHOLE_MAX = 100
# A claim that brings so many jobs and leaves more behind is worth a report at the same time.
BUSY_MIN = 200
# Jobs found twice within this time are a stream: poll instead of sleeping between them, so that its
# producers need not NOTIFY.
STREAM_SECONDS = 0.02
LINGER_PAUSE_MIN = 0.002
LINGER_PAUSE_MAX = 0.01
SATURATED_SECONDS = 60.0
STRAY_RETRY_SECONDS = 10.0

_logger = logging.getLogger("pgqueue.worker")


class Engine:
    """
    See the module.

    Args:
        link: The connection for claims and reports.
        reporter: Reports over a connection of its own while claims come back full.
        membership: Who we are.
        executor: Runs what is claimed.
        outbox: Holds what is to be reported.
        bell: None: poll only.
        floors: Of our queues.
        concurrency: How many jobs run at once.
        poll_seconds: How often to look without being rung.
        drain: Stop when the queues are empty.
        on_drained: Called then.

    Attributes:
        signal: Wakes the engine.
        progress: Set whenever something was reported or a slot became free.
        claiming: False while no job must be claimed: shutting down, or the lease is in doubt.
    """

    def __init__(
        self,
        link: Link,
        *,
        membership: Membership,
        executor: Executor,
        outbox: Outbox,
        reporter: Reporter,
        bell: Doorbell | None,
        floors: Floors,
        concurrency: int,
        poll_seconds: float,
        drain: bool,
        on_drained: Callable[[], None],
    ) -> None:
        self.signal = Signal()
        self.progress = Signal()
        self.claiming = True
        self._link = link
        self._membership = membership
        self._executor = executor
        self._outbox = outbox
        self._reporter = reporter
        self._busy = False
        self._bell = bell
        self._floors = floors
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self._poll_at = 0.0
        self._drain = drain
        self._on_drained = on_drained
        self._stray_at: float | None = None
        self._found_at = -1e9
        self._gap = STREAM_SECONDS
        self._linger_until = 0.0
        self._trouble = Backoff(0.05, 5.0)
        self._known_empty = False

    def wake(self) -> None:
        """Look again: a slot is free, an ending is there, a bell rang."""
        self._known_empty = False
        self.signal.set()
        self.progress.set()

    async def run_forever(self) -> None:
        """Work; ends when cancelled."""
        try:
            await self._run_forever()
        finally:
            await self._reporter.close()

    async def _run_forever(self) -> None:
        while True:
            try:
                await self._cycle()
            except WorkerGone:
                await self._membership.beat_now()
                await self.signal.wait(self._trouble.next())
            except (PgqueueError, psycopg.Error) as exc:
                if isinstance(exc, DatabaseUnavailable) and self._link.connection is None:
                    # The link has said so. Endings are kept; the fence decides about them later.
                    await self.signal.wait(max(self._link.retry_seconds, 0.02))
                    continue
                log.event(
                    _logger,
                    logging.ERROR,
                    "claim failed",
                    worker=self._membership.name,
                    error=str(exc).partition("\n")[0],
                )
                await self._reporter.settled()
                await self._outbox.report_singly(self._link)
                await self.signal.wait(self._trouble.next())

    async def _cycle(self) -> None:
        room = self._room()
        if self._outbox.sick_seconds == 0:
            await self._outbox.retry_sick(self._link)
        elif room <= 0:
            if self._bell is not None and (self._bell.holding or self._bell.owes):
                await self._bell.leave(pass_on=True)
            if self._outbox:
                await self._report()
            else:
                await self.signal.wait(self._outbox.sick_seconds or SATURATED_SECONDS)
        elif self._drained():
            self._on_drained()
            await self.signal.wait()
        elif self._bell is not None and self._bell.resting:
            await self._rest(self._bell, room)
        elif not await self._last_words(room) and not await self._claim(room, sweep=False):
            await self._idle(room)

    def _room(self) -> int:
        if not self.claiming or not self._membership.valid:
            return 0
        return self._concurrency - len(self._executor.runs)

    def _limit(self, room: int) -> int:
        """How many jobs to claim at once."""
        return min(room, CLAIM_MAX, max(WHOLE_MAX, self._concurrency // 2))

    def _drained(self) -> bool:
        return self._drain and self._known_empty and not self._executor.runs and not self._outbox

    async def _rest(self, bell: Doorbell, room: int) -> None:
        """Sleep at the doors until something happens, and see to that."""
        now = time.monotonic()
        if bell.rung:
            # Reset before the claim: a ring that comes meanwhile is about what it cannot see.
            called, bell.rung, bell.called = bell.called, False, False
            if called:
                # The door is ours to take. First: the claim after that is needed in any case.
                await bell.leave(pass_on=False)
                await self._lie_down(bell, room)
            else:
                await self._look(bell, room)
        elif now >= self._poll_at:
            self._poll_at = now + jittered(self._poll_seconds)
            self._reporter.rest()
            if bell.benched:
                # The doorman may have died: try for its place.
                await bell.leave(pass_on=False)
                await self._lie_down(bell, room)
            else:
                # Look first: a dead doorbell takes its deadline to be found dead.
                await self._look(bell, room)
                await bell.ping()
        elif self._outbox:
            await self._report()
        elif self._drain and not self._known_empty and not self._executor.runs:
            await self._claim(room, sweep=True)
        else:
            await self.signal.wait(self._poll_at - now)

    async def _last_words(self, room: int) -> bool:
        """
        Report the last ending when more is not expected: at the door, with the claim made there.

        For workers of one slot, of which many may be idle: 16 of them made 4.0 claims per job, 3.15
        so.
        """
        if self._bell is None or self._executor.runs or not self._outbox or self._in_stream:
            return False
        return await self._lie_down(self._bell, room) is not None

    async def _idle(self, room: int) -> None:
        """Nothing was found: linger, or lie down, or poll."""
        now = time.monotonic()
        if now < self._linger_until:
            await self.signal.wait(min(max(self._gap / 2, LINGER_PAUSE_MIN), LINGER_PAUSE_MAX))
        elif self._bell is None:
            # No doorbell: each look is a sweep.
            if not await self._claim(room, sweep=True):
                await self._pause(jittered(self._poll_seconds))
        elif await self._lie_down(self._bell, room) is None:
            pause = min(self._bell.retry_seconds, jittered(self._poll_seconds))
            await self._pause(max(pause, LINGER_PAUSE_MIN))

    async def _pause(self, seconds: float) -> None:
        if not self._drained():
            await self.signal.wait(seconds)

    async def _lie_down(self, bell: Doorbell, room: int) -> int | None:
        """Take a place at every queue, and claim once more: how many; None = impossible now."""
        if not await bell.rest():
            return None
        self._poll_at = time.monotonic() + jittered(self._poll_seconds)
        reach("before_last_claim")
        return await self._look(bell, room)

    async def _look(self, bell: Doorbell, room: int) -> int:
        """Claim from a place at the doors, and get up if there is more; how many were found."""
        found = await self._claim(room, sweep=True)
        if found >= self._limit(room):
            # More than one claim can take, and nobody rings for it: go on, and let the next worker
            # help, which wakes the one after it. Without that one worker drained 50,000 instant
            # jobs while three slept; without getting up the rest waited for the next poll.
            await bell.leave(pass_on=True)
        elif found and self._in_stream:
            await bell.leave(pass_on=False)
        return found

    async def _report(self) -> None:
        await self._reporter.settled()
        if self._outbox:
            await self._outbox.report(self._link)
            self.progress.set()

    async def _batch(self) -> Batch:
        """What the next exchange reports: nothing while the reporter does it at the same time."""
        if self._busy:
            return Batch([])
        await self._reporter.settled()
        return self._outbox.take()

    async def _claim(self, room: int, *, sweep: bool) -> int:
        """Report what there is and claim up to *room* jobs; how many were found."""
        if self._stray_at is not None and time.monotonic() >= self._stray_at:
            await self._release_strays()
        floors = self._floors
        floors.rotate()
        sweep = sweep or floors.sweep_due()
        limit = self._limit(room)
        batch = await self._batch()
        began = time.monotonic()
        try:
            answer = await self._link.call(
                calls.exchange(
                    self._membership.worker_id,
                    queues=floors.queues,
                    limit=limit,
                    floors=None if sweep else floors.array(),
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
            if self._bell is not None:
                self._bell.rung = True
            raise
        self._trouble.reset()
        reach("after_claim")
        if batch.entries:
            self._outbox.settled(batch, answer.reported)
            self.progress.set()
        if sweep:
            floors.swept(time.monotonic() - began)
            self._known_empty = not answer.claimed
        full = len(answer.claimed) == limit
        # Before the handlers start: what is reported now is on its way while they run.
        self._busy = full and limit >= BUSY_MIN and self._reporter.helps()
        if answer.claimed:
            self._start(answer.claimed)
            if not full:
                # Handlers that need no wait end here, and the next round trip reports them. Else
                # there is more to claim: the server finds it while they run.
                await asyncio.sleep(0)
        return len(answer.claimed)

    def _start(self, claimed: list[Claimed]) -> None:
        now = time.monotonic()
        self._gap = now - self._found_at
        self._found_at = now
        self._linger_until = now + STREAM_SECONDS if self._in_stream else 0.0
        self._floors.saw(claimed)
        for job in self._executor.start(claimed):
            # A claim asks for our types only; a job type has been renamed under us.
            self._outbox.add(job.key, job.token, RELEASED.outcome)

    @property
    def _in_stream(self) -> bool:
        return self._gap < STREAM_SECONDS

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
