"""
Who this worker is in the database, and whether it still is.

A heartbeat renews the lease of everything that it runs. A worker that could not heartbeat stops its
handlers before its lease ends: after that another worker may run the same jobs.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import platform
import socket
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from pgqueue import calls, log
from pgqueue.errors import DatabaseUnavailable, PgqueueError, WorkerGone
from pgqueue.worker.runs import Stop
from pgqueue.worker.waiting import Backoff, Signal, jittered

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgqueue.calls import Heartbeat
    from pgqueue.worker.executor import Executor
    from pgqueue.worker.link import Link
    from pgqueue.worker.settings import WorkerSettings

__all__ = ["Membership"]

BEATS_PER_LEASE = 4
# Handlers stop so long before the lease ends: clocks and scheduling are not exact.
MARGIN_SHARE = 0.1
RETRY_SECONDS = 0.25
# After a refusal, such as a missing right: it is logged each time.
REFUSED_BASE_SECONDS = 0.5

_logger = logging.getLogger("pgqueue.worker")


class Membership:
    """
    Registers, heartbeats, and passes on what the heartbeat says.

    Args:
        link: The control connection.
        settings: Name, queues, lease.
        job_types: What we handle.
        executor: Whose runs are stopped.
        on_drain: Called when an operator asked this worker to drain.
        on_change: Called when `valid` changed.

    Attributes:
        worker_id: Our row in pgqueue.workers.
        clock_offset: Seconds that the server's clock is ahead of ours.
    """

    def __init__(
        self,
        link: Link,
        *,
        settings: WorkerSettings,
        job_types: list[str],
        executor: Executor,
        on_drain: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self.name = settings.name
        self.worker_id = 0
        self.clock_offset = 0.0
        self._link = link
        self._settings = settings
        self._job_types = job_types
        self._executor = executor
        self._on_drain = on_drain
        self._on_change = on_change
        self._lease = settings.lease_seconds
        self._valid_until = 0.0
        self._expiry: asyncio.TimerHandle | None = None
        self._refused = Backoff(REFUSED_BASE_SECONDS, self.beat_seconds)
        self._signal = Signal()
        self._lock = asyncio.Lock()

    @property
    def valid(self) -> bool:
        """Whether the lease is certain: jobs may be claimed and run."""
        return time.monotonic() < self._valid_until

    @property
    def beat_seconds(self) -> float:
        """The time between two heartbeats, and the deadline of each."""
        return self._lease / BEATS_PER_LEASE

    async def register(self) -> None:
        """
        Become a worker, under an instance of its own.

        Raises:
            PgqueueError: Why that is impossible.
        """
        sent_at = time.monotonic()
        call = calls.register_worker(
            self.name,
            queues=self._settings.queues,
            job_types=self._job_types,
            lease=dt.timedelta(seconds=self._lease),
            instance=uuid4(),
            meta=self._meta(),
        )
        self.worker_id = await self._link.call(call)
        self._renew(sent_at)
        log.event(
            _logger,
            logging.INFO,
            "worker registered",
            worker=self.name,
            worker_id=self.worker_id,
            queues=",".join(self._settings.queues),
            job_types=len(self._job_types),
            concurrency=self._settings.concurrency,
        )

    async def beat_forever(self) -> None:
        """Heartbeat; ends when cancelled."""
        while True:
            await self._signal.wait(jittered(await self._beat(), 0.1))

    def beat_soon(self, worker_id: int | None = None) -> None:
        """Heartbeat at once, if *worker_id* is ours: there is something to hear."""
        if worker_id is None or worker_id == self.worker_id:
            self._signal.set()

    async def beat_now(self) -> None:
        """Heartbeat, or register again: the database said that we are gone."""
        await self._beat()

    async def say_goodbye(self, seconds: float) -> None:
        """
        Leave; what we still own goes back.

        Raises:
            DatabaseUnavailable: The lease will end by itself.
        """
        await self._link.call(calls.stop_worker(self.worker_id), seconds=seconds)

    def close(self) -> None:
        """Forget the lease."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._valid_until = 0.0

    async def _beat(self) -> float:
        """Heartbeat; how long to wait for the next one."""
        async with self._lock:
            sent_at = time.monotonic()
            try:
                answer = await self._link.call(
                    calls.heartbeat(self.worker_id), seconds=self.beat_seconds
                )
            except WorkerGone:
                return self.beat_seconds if await self._start_over() else RETRY_SECONDS
            except (DatabaseUnavailable, psycopg.OperationalError):
                return RETRY_SECONDS
            except (PgqueueError, psycopg.Error) as exc:
                reason = str(exc).partition("\n")[0]
                log.event(
                    _logger, logging.ERROR, "heartbeat failed", worker=self.name, error=reason
                )
                return self._refused.next()
            self._refused.reset()
            self._renew(sent_at)
            self._hear(answer)
            return self.beat_seconds

    def _hear(self, answer: Heartbeat) -> None:
        server_now = answer.lease_until.timestamp() - self._lease
        self.clock_offset = server_now - time.time()
        for _, token in answer.cancel:
            run = self._executor.runs.get(token)
            if run is not None:
                self._executor.stop_one(run, Stop.CANCEL)
        if answer.draining:
            self._on_drain()

    async def _start_over(self) -> bool:
        """We were declared dead: our jobs are others' now. Begin again as somebody new."""
        log.event(
            _logger,
            logging.ERROR,
            "worker was given up",
            worker=self.name,
            worker_id=self.worker_id,
            jobs=len(self._executor.runs),
        )
        self._executor.stop(Stop.LOST)
        try:
            await self.register()
        except (PgqueueError, psycopg.Error):
            return False
        return True

    def _renew(self, sent_at: float) -> None:
        # From when it was sent: the database may have taken it just then.
        lasts = self._lease * (1 - MARGIN_SHARE)
        was_valid = self.valid
        self._valid_until = sent_at + lasts
        if self._expiry is not None:
            self._expiry.cancel()
        loop = asyncio.get_running_loop()
        left = max(0.0, self._valid_until - time.monotonic())
        self._expiry = loop.call_later(left, self._expire)
        if not was_valid:
            self._on_change()

    def _expire(self) -> None:
        log.event(
            _logger,
            logging.ERROR,
            "lease is ending without a heartbeat",
            worker=self.name,
            worker_id=self.worker_id,
            jobs=len(self._executor.runs),
        )
        self._executor.stop(Stop.LEASE)
        self._on_change()

    def _meta(self) -> dict[str, Any]:
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": metadata.version("pgqueue"),
            "python": platform.python_version(),
            "concurrency": self._settings.concurrency,
        }
