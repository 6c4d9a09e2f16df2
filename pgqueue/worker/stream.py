"""How densely jobs come: whether it pays to poll for the next ones instead of sleeping."""

from __future__ import annotations

import time

__all__ = ["Stream"]

# Jobs found twice within this time are a stream: poll instead of sleeping between them, so that its
# producers need not NOTIFY.
STREAM_SECONDS = 0.02
PAUSE_MIN = 0.002
PAUSE_MAX = 0.01


class Stream:
    """When jobs were found."""

    def __init__(self) -> None:
        self._found_at = -1e9
        self._gap = STREAM_SECONDS
        self._until = 0.0

    @property
    def dense(self) -> bool:
        """Whether jobs were found twice in a short time."""
        return self._gap < STREAM_SECONDS

    @property
    def lasts(self) -> bool:
        """Whether more are to be expected just now."""
        return time.monotonic() < self._until

    @property
    def pause(self) -> float:
        """How long to wait before the next look."""
        return min(max(self._gap / 2, PAUSE_MIN), PAUSE_MAX)

    def found(self, began: float) -> None:
        """
        Note that a claim brought jobs.

        Args:
            began: When it was made. Its own time is no gap: under a held snapshot a claim without
                floors takes longer than a stream's gap, and who slept then made no other claims.
        """
        now = time.monotonic()
        self._gap = began - self._found_at
        self._found_at = now
        self._until = now + STREAM_SECONDS if self.dense else 0.0
