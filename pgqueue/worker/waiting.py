"""Small tools for waiting: a signal with a timeout, jittered pauses."""

from __future__ import annotations

import asyncio
import random

__all__ = ["Backoff", "Signal", "jittered"]

# Not for secrets; SystemRandom spares forked children the same sequence.
_random = random.SystemRandom()


class Signal:
    """An event that one task waits for, with a timeout, and that clears itself."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the waiter, or spare it its next wait."""
        self._event.set()

    def clear(self) -> None:
        """Have the next wait wait: its caller has looked."""
        self._event.clear()

    async def wait(self, seconds: float | None = None) -> None:
        """Return when set, or after *seconds*; the caller looks again at what it waits for."""
        # Cheaper than asyncio.wait_for, which makes a task per wait.
        timer = None
        if seconds is not None:
            timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._event.set)
        try:
            await self._event.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self._event.clear()


class Backoff:
    """
    Growing pauses with full jitter.

    Args:
        base: Upper bound of the first pause, in seconds.
        cap: Upper bound of every pause.
    """

    __slots__ = ("_base", "_cap", "_tries")

    def __init__(self, base: float, cap: float) -> None:
        self._base = base
        self._cap = cap
        self._tries = 0

    def reset(self) -> None:
        """Start over."""
        self._tries = 0

    def next(self) -> float:
        """Draw the next pause."""
        bound = min(self._cap, self._base * 2 ** min(self._tries, 30))
        self._tries += 1
        return _random.uniform(bound / 10, bound)


def jittered(seconds: float, share: float = 0.2) -> float:
    """Vary *seconds* by up to *share* either way, so that workers do not move in step."""
    return seconds * _random.uniform(1 - share, 1 + share)
