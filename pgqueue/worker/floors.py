"""
What a worker remembers of the ready table: below which position it has seen nothing left.

See sql/functions/claim.sql. Jobs can still appear below a floor, so a claim without floors (a
sweep) is due before every sleep, and now and then while busy: at most 2 % of the time. While claims
come back short floors rise a tenth of a second later, so that few late commits wait for a sweep.

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
# Under a held snapshot it steps over all that was claimed since: 60,000 rows are 20 ms.
LONG_SECONDS = 0.005
LONG_SWEEPS = 3  # in a row: one may have waited for the machine or its disk
# How much later floors follow when a claim comes back short: a position is drawn before its commit,
# and a job below the floor waits for a sweep, 50 ms or more (1,000 jobs/s on a slow disk: p99 353
# and 134 ms without this lag, 41 and 39 with it). A claim steps over what was claimed meanwhile.
LAG_SECONDS = 0.1
# The same for a fair queue, whose floors lag also while its claims come full.
FAIR_LAG_FULL_SECONDS = 0.2
FAIR_LAG_SECONDS = 2.5


class Floors:
    """
    The floors of one worker's queues.

    Args:
        queues: Claimed from in turn: each claim begins with another one.
    """

    def __init__(self, queues: Sequence[str]) -> None:
        self._sweeps: deque[float] = deque([0.0], maxlen=LONG_SWEEPS)
        self.queues = list(queues)
        self._floors = {queue: [0] * PRIORITIES for queue in queues}
        self._sweep_at = 0.0
        self._seen: defaultdict[tuple[str, int, bool], deque[tuple[float, int]]]
        self._seen = defaultdict(deque)

    def rotate(self) -> None:
        """Let the next queue come first: none is starved by another that is never empty."""
        if len(self.queues) > 1:
            self.queues.append(self.queues.pop(0))

    def array(self) -> list[int]:
        """As pgqueue.claim() takes them, in the order of `queues`."""
        return [floor for queue in self.queues for floor in self._floors[queue]]

    @property
    def sweep_takes_long(self) -> bool:
        """As the last ones did."""
        return min(self._sweeps) > LONG_SECONDS

    def sweep_due(self) -> bool:
        """Whether the next claim should go without floors."""
        return time.monotonic() >= self._sweep_at

    def swept(self, seconds: float) -> None:
        """Note that a claim without floors took *seconds*."""
        self._sweeps.append(seconds)
        pause = min(SWEEP_SECONDS_MAX, max(SWEEP_SECONDS_MIN, seconds * SWEEP_COST_FACTOR))
        self._sweep_at = time.monotonic() + pause

    def saw(self, claimed: Iterable[Claimed], *, full: bool = True) -> None:
        """
        Raise the floors to just above what was claimed, at once or a little later.

        Args:
            claimed: The jobs.
            full: As many as the claim could take: there may be more.
        """
        now = time.monotonic()
        for job in claimed:
            floors = self._floors[job.queue]
            if job.pos >= floors[job.priority]:
                fair = job.pos % 2 == 0
                if fair or not full:
                    self._saw(job, now, fair=fair)
                else:
                    floors[job.priority] = job.pos + 1
        for (queue, priority, fair), seen in self._seen.items():
            floors, before = self._floors[queue], now - _lag(full=full, fair=fair)
            while seen and seen[0][0] <= before:
                floors[priority] = max(floors[priority], seen.popleft()[1])

    def _saw(self, job: Claimed, now: float, *, fair: bool) -> None:
        seen = self._seen[job.queue, job.priority, fair]
        if seen and seen[-1][0] == now:
            seen.pop()  # one entry per claim
        seen.append((now, job.pos + 1))


def _lag(*, full: bool, fair: bool) -> float:
    if full:
        return FAIR_LAG_FULL_SECONDS if fair else 0.0
    return FAIR_LAG_SECONDS if fair else LAG_SECONDS
