"""What running handlers say meanwhile: progress, and that they need more time."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue import calls, log
from pgqueue.errors import DatabaseUnavailable, LeaseLost, PgqueueError
from pgqueue.worker.waiting import Signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pgqueue.calls import Call
    from pgqueue.worker.link import Link
    from pgqueue.worker.runs import Run

__all__ = ["Hooks", "Messages"]

# At most one progress update per job and second reaches the database.
FLUSH_SECONDS = 1.0

_logger = logging.getLogger("pgqueue.worker")


class Messages:
    """
    Sends the latest word of each job, over the control connection.

    Args:
        link: That connection.
        seconds: The deadline of a call; heartbeats wait for their turn behind it.
        expired: What to call when an extended run reaches its new limit.
        lost: What to call when another attempt owns the job.
    """

    def __init__(
        self,
        link: Link,
        *,
        seconds: float,
        expired: Callable[[Run], None],
        lost: Callable[[Run], None],
    ) -> None:
        self._link = link
        self._seconds = seconds
        self._expired = expired
        self._lost = lost
        self._progress: dict[Run, tuple[float, str | None]] = {}
        self._extend: dict[Run, float] = {}
        self._signal = Signal()

    def progress(self, run: Run, percent: float, message: str | None) -> None:
        """Note progress; what was not sent yet is void."""
        if not run.ended:
            self._progress[run] = (percent, message)
            self._signal.set()

    def extend(self, run: Run, seconds: float) -> None:
        """Move the time limit here now, and in the database soon."""
        if not run.ended:
            run.limit(seconds, self._expired)
            self._extend[run] = time.monotonic() + seconds
            self._signal.set()

    async def flush_forever(self) -> None:
        """Send what there is, at most once per FLUSH_SECONDS; ends when cancelled."""
        while True:
            await self._signal.wait()
            await self._flush()
            # Not the signal: during the pause only the latest word of each job is kept.
            await Signal().wait(FLUSH_SECONDS)

    async def _flush(self) -> None:
        extended, self._extend = self._extend, {}
        for run, until in extended.items():
            by = dt.timedelta(seconds=max(until - time.monotonic(), 0.001))
            await self._send(run, calls.extend(run.job.job_id, run.job.token, by=by))
        reported, self._progress = self._progress, {}
        for run, (percent, message) in reported.items():
            await self._send(
                run,
                calls.progress(run.job.job_id, run.job.token, percent=percent, message=message),
            )

    async def _send(self, run: Run, call: Call[Any]) -> None:
        if run.ended:
            return
        try:
            await self._link.call(call, seconds=self._seconds)
        except LeaseLost:
            # Not when it has ended meanwhile: then its own report was faster.
            if not run.ended:
                self._lost(run)
        except DatabaseUnavailable:
            return  # a hint that got lost; the next one comes
        except (PgqueueError, psycopg.Error) as exc:
            log.event(
                _logger,
                logging.WARNING,
                "progress refused",
                job_id=run.job.job_id,
                error=str(exc).partition("\n")[0],
            )


class Hooks:
    """The ContextHooks of one run: from whatever thread they are called, Messages hears it here."""

    __slots__ = ("_loop", "_messages", "_run", "_thread")

    def __init__(self, run: Run, messages: Messages, loop: asyncio.AbstractEventLoop) -> None:
        self._run = run
        self._messages = messages
        self._loop = loop
        self._thread = threading.get_ident()

    def report_progress(self, percent: float, message: str | None) -> None:
        """Pass it on."""
        self._call(self._messages.progress, self._run, percent, message)

    def extend(self, seconds: float) -> None:
        """Pass it on."""
        self._call(self._messages.extend, self._run, seconds)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        if threading.get_ident() == self._thread:
            function(*args)
        else:
            self._loop.call_soon_threadsafe(function, *args)
