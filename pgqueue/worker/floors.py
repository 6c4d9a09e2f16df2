"""
What a worker remembers of the ready table: below which position it has seen nothing left.

See sql/functions/claim.sql. Jobs can still appear below a floor, so a claim without floors (a
sweep) is due before every sleep, and now and then while busy: at most 2 % of the time.

In a fair queue (sql/functions/fairness.sql; its positions are even) a newcomer is placed beside the
head as its producer saw it: behind claims that have not committed, and in a lane that ran empty up
to two seconds back. There the floor follows that much later, so that no newcomer waits for a sweep.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgqueue.calls import Claimed

__all__ = ["Floors"]

PRIORITIES = 4
SWEEP_COST_FACTOR = 50
SWEEP_SECONDS_MIN = 0.05
SWEEP_SECONDS_MAX = 5.0
# Of a fair queue: how much later floors follow while its claims come full, and else.
FAIR_LAG_FULL_SECONDS = 0.2
FAIR_LAG_SECONDS = 2.5


class Floors:
    """
    The floors of one worker's queues.

    Args:
        queues: Claimed from in turn: each claim begins with another one.
    """

    def __init__(self, queues: Sequence[str]) -> None:
        self.queues = list(queues)
        self._floors = {queue: [0] * PRIORITIES for queue in queues}
        self._sweep_at = 0.0
        self._fair: defaultdict[tuple[str, int], deque[tuple[float, int]]] = defaultdict(deque)

    def rotate(self) -> None:
        """Let the next queue come first: none is starved by another that is never empty."""
        if len(self.queues) > 1:
            self.queues.append(self.queues.pop(0))

    def array(self) -> list[int]:
        """As pgqueue.claim() takes them, in the order of `queues`."""
        return [floor for queue in self.queues for floor in self._floors[queue]]

    def sweep_due(self) -> bool:
        """Whether the next claim should go without floors."""
        return time.monotonic() >= self._sweep_at

    def swept(self, seconds: float) -> None:
        """Note that a claim without floors took *seconds*."""
        pause = min(SWEEP_SECONDS_MAX, max(SWEEP_SECONDS_MIN, seconds * SWEEP_COST_FACTOR))
        self._sweep_at = time.monotonic() + pause

    def saw(self, claimed: Iterable[Claimed], *, full: bool = True) -> None:
        """
        Raise the floors to just above what was claimed.

        Args:
            claimed: The jobs.
            full: As many as the claim could take: there may be more.
        """
        now = time.monotonic()
        for job in claimed:
            floors = self._floors[job.queue]
            if job.pos >= floors[job.priority]:
                if job.pos % 2 == 0:
                    self._saw_fair(job, now)
                else:
                    floors[job.priority] = job.pos + 1
        before = now - (FAIR_LAG_FULL_SECONDS if full else FAIR_LAG_SECONDS)
        for (queue, priority), seen in self._fair.items():
            floors = self._floors[queue]
            while seen and seen[0][0] < before:
                floors[priority] = max(floors[priority], seen.popleft()[1])

    def _saw_fair(self, job: Claimed, now: float) -> None:
        seen = self._fair[job.queue, job.priority]
        if seen and seen[-1][0] == now:
            seen.pop()  # one entry per claim
        seen.append((now, job.pos + 1))
