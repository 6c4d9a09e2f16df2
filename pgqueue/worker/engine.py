"""
The engine: one task that decides when to claim, when to report and when to sleep.

    full        no free slot: report, wait for one; pass the door on
    busy        claim, run, report; while jobs keep coming
    lingering   nothing found just now, but jobs came densely: poll for a moment
    resting     at the doors: sleeps until rung, or until the next poll
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import psycopg

from pgqueue import log
from pgqueue._pause import reach
from pgqueue.errors import DatabaseUnavailable, PgqueueError, WorkerGone
from pgqueue.worker.waiting import Backoff, Signal, jittered

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgqueue.worker.doorbell import Doorbell
    from pgqueue.worker.exchange import Exchange
    from pgqueue.worker.executor import Executor
    from pgqueue.worker.membership import Membership
    from pgqueue.worker.outbox import Outbox
    from pgqueue.worker.stream import Stream

__all__ = ["Engine"]

# No slot is free and none has ended for so long: look around.
SATURATED_SECONDS = 60.0
# No pause between two looks is shorter, whatever the doorbell says.
PAUSE_SECONDS_MIN = 0.002
# Under a stream, between two round trips. Not a share of the gap between two finds, which it would
# widen itself.
GATHER_SECONDS = 0.002
# Who sits so far back polls half as often: a bench of 64 makes 4 polls a second instead of 13.
PATIENT_SEATS = 8

_logger = logging.getLogger("pgqueue.worker")


class Engine:
    """
    See the module.

    Args:
        exchange: Claims and reports.
        membership: Who we are.
        executor: Runs what is claimed.
        outbox: Holds what is to be reported.
        bell: None: poll only.
        stream: How densely jobs come.
        concurrency: How many jobs run at once.
        poll_seconds: How often to look without being rung.
        alike: Whether the other workers of our queues could claim whatever we could.
        drain: Stop when the queues are empty.
        on_drained: Called then.

    Attributes:
        signal: Wakes the engine.
        progress: Set whenever something was reported or a slot became free.
        claiming: False while no job must be claimed: shutting down, or the lease is in doubt.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        membership: Membership,
        executor: Executor,
        outbox: Outbox,
        bell: Doorbell | None,
        stream: Stream,
        concurrency: int,
        poll_seconds: float,
        alike: Callable[[], bool],
        drain: bool,
        on_drained: Callable[[], None],
    ) -> None:
        self.signal = Signal()
        self.progress = Signal()
        self.claiming = True
        self._exchange = exchange
        self._membership = membership
        self._executor = executor
        self._outbox = outbox
        self._bell = bell
        self._stream = stream
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self._alike = alike
        self._poll_at = 0.0
        self._owes_sweep = False
        self._drain = drain
        self._on_drained = on_drained
        self._trouble = Backoff(0.05, 5.0)

    def wake(self) -> None:
        """Look again: a slot is free, an ending is there, a bell rang."""
        self._exchange.known_empty = False
        self.signal.set()
        self.progress.set()

    async def run_forever(self) -> None:
        """Work; ends when cancelled."""
        try:
            while True:
                try:
                    await self._cycle()
                except WorkerGone:
                    await self._membership.beat_now()
                    await self.signal.wait(self._trouble.next())
                except (PgqueueError, psycopg.Error) as exc:
                    await self._recover(exc)
        finally:
            await self._exchange.close()

    async def _recover(self, exc: PgqueueError | psycopg.Error) -> None:
        """Wait out an outage, or find what the database refuses."""
        if isinstance(exc, DatabaseUnavailable) and self._exchange.lost:
            # The link has said so. Endings are kept; the fence decides about them later.
            await self.signal.wait(max(self._exchange.retry_seconds, 0.02))
            return
        log.event(
            _logger,
            logging.ERROR,
            "claim failed",
            worker=self._membership.name,
            error=str(exc).partition("\n")[0],
        )
        await self._exchange.report_singly()
        await self.signal.wait(self._trouble.next())

    async def _cycle(self) -> None:
        room = self._room()
        if self._outbox.sick_seconds == 0:
            await self._exchange.retry_sick()
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
        elif not await self._last_words(room):
            found = await self._claim(room, sweep=False)
            if not found:
                await self._idle(room)
            elif found < self._exchange.limit(room):
                await self._gather()

    def _room(self) -> int:
        if not self.claiming or not self._membership.valid:
            return 0
        return self._concurrency - len(self._executor.runs)

    def _drained(self) -> bool:
        return (
            self._drain
            and self._exchange.known_empty
            and not self._executor.runs
            and not self._outbox
        )

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
                await self._look(bell, room, rung=True)
        elif now >= self._poll_at:
            self._poll_at = now + self._poll_pause(bell)
            self._exchange.rest()
            if bell.benched:
                # The doorman may have died, or be suspended: try for its place, and look.
                await bell.leave(pass_on=False)
                await self._lie_down(bell, room, polling=True)
            else:
                # Look first: a dead doorbell takes its deadline to be found dead.
                await self._look(bell, room)
                await bell.ping()
        elif self._outbox:
            await self._report()
        elif self._owes_sweep:
            await self._look(bell, room)
        elif self._drain and not self._exchange.known_empty and not self._executor.runs:
            await self._claim(room, sweep=True)
        else:
            await self.signal.wait(self._poll_at - now)

    async def _last_words(self, room: int) -> bool:
        """
        Report the last ending when more is not expected: at the door, with the claim made there.

        For workers of one slot, of which many may be idle: 16 of them made 4.0 claims per job, 2.0
        so.
        """
        if self._bell is None or self._executor.runs or not self._outbox or self._stream.dense:
            return False
        return await self._lie_down(self._bell, room) is not None

    async def _idle(self, room: int) -> None:
        """Nothing was found: linger, or lie down, or poll."""
        if self._stream.lasts:
            await self.signal.wait(self._stream.pause)
        elif self._bell is None:
            # No doorbell: each look is a sweep.
            if not await self._claim(room, sweep=True):
                await self._pause(jittered(self._poll_seconds))
        elif await self._lie_down(self._bell, room) is None:
            pause = min(self._bell.retry_seconds, jittered(self._poll_seconds))
            await self._pause(max(pause, PAUSE_SECONDS_MIN))

    async def _gather(self) -> None:
        """
        Jobs come one by one: let some more come and end before the next round trip.

        1,000 jobs/s: a job costs 0.25 of a worker's transactions instead of 0.53, and 0.24 ms of
        the server's CPU for them instead of 0.37; it starts 1 ms later.
        """
        if self._stream.dense:
            await asyncio.sleep(GATHER_SECONDS)
            # What has ended meanwhile is reported now.
            self.signal.clear()

    async def _pause(self, seconds: float) -> None:
        if not self._drained():
            await self.signal.wait(seconds)

    async def _lie_down(self, bell: Doorbell, room: int, *, polling: bool = False) -> int | None:
        """
        Take a place at every queue; how many jobs were found then, None = impossible now.

        Who has a door claims once more. Who has not leaves that to those who have: each claims
        after it got the door and passes on what it cannot take. Proved by tests/model/bell.py.
        """
        if not await bell.rest():
            return None
        self._poll_at = time.monotonic() + self._poll_pause(bell)
        if bell.seat and self._alike() and not polling:
            if self._outbox:
                await self._report()
            return 0
        reach("before_last_claim")
        return await self._look(bell, room)

    def _poll_pause(self, bell: Doorbell) -> float:
        patience = 1 + bell.seat / PATIENT_SEATS if self._alike() else 1.0
        return jittered(self._poll_seconds * patience)

    async def _look(self, bell: Doorbell, room: int, *, rung: bool = False) -> int:
        """Claim from a place at the doors, and get up if there is more; how many were found."""
        # What rang lies above the floors, as a rule: it need not wait for a sweep that takes long.
        # That follows before we sleep: two may have rung, and one lie below.
        self._owes_sweep = rung and self._exchange.sweep_takes_long
        # Idle only here: who has a place has a session of its own, which ends when the server
        # crashes. A pooler's connection would outlive that, and exchange.FLUSHED_SECONDS with it.
        found = await self._claim(room, sweep=not self._owes_sweep, idle=True)
        if found >= self._exchange.limit(room):
            # More than one claim can take, and nobody rings for it: go on, and let the next worker
            # help, which wakes the one after it. Without that one worker drained 50,000 instant
            # jobs while three slept; without getting up the rest waited for the next poll.
            await bell.leave(pass_on=True)
        elif found and self._stream.dense:
            await bell.leave(pass_on=False)
        return found

    async def _report(self) -> None:
        await self._exchange.report()
        self.progress.set()

    async def _claim(self, room: int, *, sweep: bool, idle: bool = False) -> int:
        """Report what there is and claim up to *room* jobs; how many were found."""
        try:
            found = await self._exchange.claim(room, sweep=sweep, idle=idle)
        except BaseException:
            # What we were rung for is still to be looked at.
            if self._bell is not None:
                self._bell.rung = True
            raise
        self._trouble.reset()
        self.progress.set()
        return found
