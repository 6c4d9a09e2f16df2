"""One run of one handler, while it lasts."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from pgqueue.calls import Claimed
    from pgqueue.context import JobContext
    from pgqueue.handling import Route

__all__ = ["Run", "Stop"]


class Stop(enum.Enum):
    """Why a run is stopped before its handler returned."""

    TIMEOUT = "its time limit has passed"
    CANCEL = "its cancellation was requested"
    RELEASE = "the worker is shutting down"
    LEASE = "the worker's lease is ending"
    LOST = "another attempt owns the job"


class Run:
    """
    A claimed job and what runs it.

    Attributes:
        begun: A runner has taken it; before that there is no task to cancel.
        ended: Its ending has been decided; what the handler still does changes nothing.
        finishing: Its transaction is being committed: too late to stop.
    """

    # Defaults of the class: most runs change none of them. 0.25 microseconds to make one; with
    # __slots__ and each set 0.6.
    context: JobContext | None = None
    connection: Any = None
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    stop: Stop | None = None
    begun = False
    ended = False
    finishing = False

    def __init__(self, job: Claimed, route: Route, started: dt.datetime) -> None:
        self.job = job
        self.route = route
        self.started = started

    def limit(self, seconds: float, expired: Callable[[Run], None]) -> None:
        """Call *expired* in *seconds* unless the run has ended; replaces an earlier limit."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(seconds, expired, self)

    def unlimited(self) -> None:
        """Call nothing."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def request(self, reason: Stop) -> None:
        """Ask the handler to stop; LOST outranks what was asked before."""
        if self.stop is None or reason is Stop.LOST:
            self.stop = reason
        if self.context is not None:
            self.context.request_cancel(reason.value)
        # A thread cannot be interrupted: its handler looks at ctx.cancelled.
        if self.begun and self.route.kind != "thread" and not self.finishing:
            assert self.task is not None
            self.task.cancel()
