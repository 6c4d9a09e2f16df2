"""
Maintenance without a leader: every worker does some, now and then.

With n workers each calls maintain() about every n / 4 seconds, so that the database sees about four
calls a second at most; in between, when a scheduled job comes due, some of them promote it.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

import psycopg

from pgqueue import calls, log
from pgqueue.errors import DatabaseUnavailable, PgqueueError
from pgqueue.worker.waiting import Signal, jittered

if TYPE_CHECKING:
    import datetime as dt

    from pgqueue.calls import Maintained
    from pgqueue.worker.link import Link
    from pgqueue.worker.membership import Membership

__all__ = ["Maintenance"]

INTERVAL_SECONDS = 1.0
# Of many workers so many react to the same due time; the others come at their interval.
ENOUGH_WORKERS = 4
DUE_SECONDS_MIN = 0.02
SWEEP_SECONDS_MIN = 1.0
# Sweeps, and rounds that found nothing to do, take at most a fiftieth of the time: under a long
# snapshot they step over every row that has moved since.
COST_FACTOR = 50.0
COUNT_SECONDS_MIN = 1.0
COUNT_SECONDS = 10.0
LIMIT = 1_000
LIMIT_MIN = 10
BACKLOG_SECONDS = 0.1

_logger = logging.getLogger("pgqueue.worker")
_random = random.SystemRandom()


class Maintenance:
    """
    One worker's share.

    Args:
        link: The control connection.
        membership: Knows the server's clock, and how long a call may hold up the heartbeat.

    Attributes:
        workers: How many were alive when they were last counted.
        alike: Those that serve a queue of ours could claim whatever we could.
    """

    def __init__(self, link: Link, *, membership: Membership) -> None:
        self._link = link
        self._membership = membership
        self.workers = 1
        self.alike = False
        self._count_at = 0.0
        self._count_seconds = COUNT_SECONDS_MIN
        self._sweep_at = 0.0
        self._full_at = 0.0
        self._floor: dt.datetime | None = None
        self._limit = LIMIT

    async def run_forever(self) -> None:
        """Maintain; ends when cancelled."""
        timer = Signal()
        while True:
            try:
                pause = await self._round()
            except DatabaseUnavailable:
                # Too much for one call, or an outage.
                self._limit = max(LIMIT_MIN, self._limit // 2)
                pause = jittered(INTERVAL_SECONDS)
            except (PgqueueError, psycopg.Error) as exc:
                reason = str(exc).partition("\n")[0]
                log.event(_logger, logging.ERROR, "maintenance failed", error=reason)
                pause = jittered(INTERVAL_SECONDS * 5)
            await timer.wait(pause)

    async def _round(self) -> float:
        """Do what is due; how long to wait for the next round."""
        now = time.monotonic()
        limit = self._limit
        # The heartbeat waits for its turn on the same connection.
        seconds = self._membership.beat_seconds
        if now >= self._count_at:
            company = calls.live_workers(self._membership.worker_id)
            counted = await self._link.call(company, seconds=seconds)
            self.workers, self.alike = max(1, counted.workers), counted.alike
            self._count_at = now + jittered(self._count_seconds)
            # Soon after the start more often: workers start together.
            self._count_seconds = min(2 * self._count_seconds, COUNT_SECONDS)
        began = time.monotonic()
        sweep = began >= self._sweep_at
        if sweep:
            self._floor = None
        if now >= self._full_at:
            done = await self._link.call(calls.maintain(limit, floor=self._floor), seconds=seconds)
            moved = done.promoted
            self._floor, next_due_at = done.next_floor, done.next_due_at
            self._full_at = time.monotonic() + self._rest(done, time.monotonic() - began)
            self._limit = min(LIMIT, self._limit * 2)
        else:
            found = await self._link.call(calls.promote(limit, floor=self._floor), seconds=seconds)
            moved = found.moved
            self._floor, next_due_at = found.next_floor, found.next_due_at
        if sweep:
            cost = time.monotonic() - began
            self._sweep_at = time.monotonic() + jittered(max(SWEEP_SECONDS_MIN, COST_FACTOR * cost))
        if moved >= limit:
            return DUE_SECONDS_MIN
        return self._pause(next_due_at)

    def _rest(self, done: Maintained, cost: float) -> float:
        """How long until the next full round."""
        if max(done.rescued, done.expired, done.removed) >= self._limit:
            return BACKLOG_SECONDS
        pause = INTERVAL_SECONDS * max(1.0, self.workers / ENOUGH_WORKERS)
        if not (done.rescued or done.expired or done.removed):
            pause = max(pause, COST_FACTOR * cost)
        return jittered(pause)

    def _pause(self, next_due_at: dt.datetime | None) -> float:
        pause = self._full_at - time.monotonic()
        if next_due_at is not None and _random.random() < ENOUGH_WORKERS / self.workers:
            due = next_due_at.timestamp() - self._membership.clock_offset - time.time()
            pause = min(pause, due)
        return max(pause, DUE_SECONDS_MIN)
