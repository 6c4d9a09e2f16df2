"""
What a worker remembers of the ready table: below which position it has seen nothing left.

See sql/functions/claim.sql. Jobs can still appear below a floor, so a claim without floors (a
sweep) is due before every sleep, and now and then while busy: at most 2 % of the time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgqueue.calls import Claimed

__all__ = ["Floors"]

PRIORITIES = 4
SWEEP_COST_FACTOR = 50
SWEEP_SECONDS_MIN = 0.05
SWEEP_SECONDS_MAX = 5.0


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

    def saw(self, claimed: Iterable[Claimed]) -> None:
        """Raise the floors to just above what was claimed."""
        for job in claimed:
            floors = self._floors[job.queue]
            if job.pos >= floors[job.priority]:
                floors[job.priority] = job.pos + 1
