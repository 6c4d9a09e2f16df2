"""One worker process: puts the parts together, starts them, stops them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue import calls, log
from pgqueue.dsn import wants_pooler
from pgqueue.errors import ConfigurationError, DatabaseUnavailable, PgqueueError, SchemaMismatch
from pgqueue.worker.executor import routes_of
from pgqueue.worker.parts import Parts
from pgqueue.worker.runs import Stop
from pgqueue.worker.settings import WorkerSettings
from pgqueue.worker.waiting import Signal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import Unpack

    from pgqueue.registry import Registry
    from pgqueue.worker.settings import WorkerOptions

__all__ = ["Worker"]

# How long a worker that starts waits for a server that is not there.
START_SECONDS = 60.0
# After the handlers' time is over: until they have noticed, until the last report is out.
NOTICE_SECONDS = 2.0
FAREWELL_SECONDS = 3.0

_logger = logging.getLogger("pgqueue.worker")


class _StoppedEarly(Exception):
    """Told to stop while it waited for the database: there is nothing to finish."""


class Worker:
    """
    Runs the jobs of a registry until it is told to stop.

    Args:
        registry: The handlers.
        dsn: As in pgqueue.dsn.
        settings: All of them; then no options.
        **options: The fields of WorkerSettings.

    Raises:
        ConfigurationError: A setting or a handler that makes no sense, or settings and options.

    Example:
        asyncio.run(Worker(load_app("workers.demo"), queues=("imports",)).run())
    """

    def __init__(
        self,
        registry: Registry,
        *,
        dsn: str | None = None,
        settings: WorkerSettings | None = None,
        **options: Unpack[WorkerOptions],
    ) -> None:
        if settings is not None and options:
            names = ", ".join(sorted(options))
            raise ConfigurationError(
                f"a worker takes settings or options, not both: {names}",
                hint="Put them into WorkerSettings.",
            )
        self.settings = settings or _settings(**options)
        registry.compile()
        self._registry = registry
        self._routes = routes_of(registry)
        self._dsn = dsn
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._hurry = False
        self._exit_code = 0
        self._change: Signal | None = None
        self._parts: Parts | None = None
        self._mismatch: SchemaMismatch | None = None

    def stop(self, *, now: bool = False) -> None:
        """
        Finish what runs, then return from `run`. From any thread; harmless to repeat.

        Args:
            now: Do not wait for the handlers: their jobs go back.
        """
        if self._loop is None or self._loop.is_closed():
            self._stopping = True
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop, now)

    async def run(self) -> int:
        """
        Work until stopped by `stop`, SIGTERM, SIGINT, an operator, or an empty queue (drain).

        Returns:
            The exit code: 0, or 128 + the signal's number after a second signal.

        Raises:
            PgqueueError: The worker cannot start: no such database, a standby, another schema.
            SchemaMismatch: Or that schema was dropped or replaced while it ran.
        """
        self._loop = asyncio.get_running_loop()
        self._change = Signal()
        with self._signals(), contextlib.suppress(_StoppedEarly):
            parts = await self._start()
            self._parts = parts
            try:
                await self._work(parts)
            finally:
                await parts.close()
        log.event(_logger, logging.INFO, "worker stopped", worker=self.settings.name)
        return self._exit_code

    async def _start(self) -> Parts:
        pooled = self.settings.pooler == "yes" or (
            self.settings.pooler == "auto" and wants_pooler()
        )
        parts = self._make_parts(pooled=pooled)
        try:
            await self._until_up(parts, parts.control.open)
            if parts.bell is not None and not await self._bell_works(parts):
                await parts.close()
                parts = self._make_parts(pooled=True)
            if self.settings.health_port is not None:
                await parts.health.start(self.settings.health_port, host=self.settings.health_host)
            await self._until_up(parts, lambda: self._register(parts))
        except BaseException:
            await parts.close()
            raise
        return parts

    async def _register(self, parts: Parts) -> None:
        await parts.control.call(calls.register_job_types(self._registry.registrations()))
        if schedules := self._registry.schedule_registrations():
            await parts.control.call(calls.register_schedules(schedules))
        if limits := self._registry.limit_registrations():
            await parts.control.call(calls.register_limits(limits))
        await parts.membership.register()

    def _make_parts(self, *, pooled: bool) -> Parts:
        return Parts(
            self.settings, routes=self._routes, dsn=self._dsn, pooled=pooled, on_stop=self.stop
        )

    async def _until_up(self, parts: Parts, step: Callable[[], Awaitable[object]]) -> None:
        """Take *step*, over and over while the server is away; other errors end the worker."""
        give_up_at = time.monotonic() + START_SECONDS
        assert self._change is not None
        while True:
            try:
                await step()
            except (DatabaseUnavailable, OSError) as exc:
                if self._stopping:
                    raise _StoppedEarly from exc
                if time.monotonic() > give_up_at:
                    raise
                if parts.control.connection is None and not parts.control.retry_seconds:
                    parts.control.lost(exc)
                await self._change.wait(max(parts.control.retry_seconds, 0.05))
            else:
                return

    async def _bell_works(self, parts: Parts) -> bool:
        assert parts.bell is not None
        if self.settings.pooler == "no":
            return True
        try:
            if await parts.bell.works(parts.control):
                return True
        except (DatabaseUnavailable, OSError):
            return True  # an outage just now says nothing about poolers
        log.event(
            _logger,
            logging.WARNING,
            "no notifications arrive, polling instead",
            worker=self.settings.name,
            poll_seconds=self.settings.poll_seconds,
            text="a transaction pooler such as PgBouncer? Give workers a direct connection.",
        )
        return False

    async def _work(self, parts: Parts) -> None:
        assert self._change is not None
        parts.outages.on_mismatch = self._on_mismatch
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(parts.engine.run_forever(), name="pgqueue engine"),
            loop.create_task(parts.membership.beat_forever(), name="pgqueue heartbeat"),
            loop.create_task(parts.maintenance.run_forever(), name="pgqueue maintenance"),
            loop.create_task(parts.messages.flush_forever(), name="pgqueue messages"),
        ]
        for task in tasks:
            task.add_done_callback(lambda _: self._stop(now=False))
        try:
            while not self._stopping:
                await self._change.wait()
            broken = [task for task in tasks if task.done()]
            await self._finish(parts)
        finally:
            await self._end(tasks, parts)
        for task in broken:
            task.result()
        if self._mismatch is not None:
            raise self._mismatch

    async def _finish(self, parts: Parts) -> None:
        """Stop claiming, give the handlers their time, report everything."""
        engine, executor = parts.engine, parts.executor
        log.event(
            _logger,
            logging.INFO if self._mismatch is None else logging.ERROR,
            "worker stopping",
            worker=self.settings.name,
            running=len(executor.runs),
            error=self._mismatch,
        )
        engine.claiming = False
        engine.wake()
        deadline = time.monotonic() + self.settings.shutdown_seconds
        while executor.runs and not self._hurry and time.monotonic() < deadline:
            await engine.progress.wait(min(deadline - time.monotonic(), 1.0))
        if executor.runs:
            executor.stop(Stop.RELEASE)
            deadline = time.monotonic() + NOTICE_SECONDS
            while executor.runs and time.monotonic() < deadline:
                await engine.progress.wait(deadline - time.monotonic())
            executor.abandon()
        engine.wake()
        deadline = time.monotonic() + FAREWELL_SECONDS
        while parts.outbox and self._mismatch is None and time.monotonic() < deadline:
            await engine.progress.wait(min(deadline - time.monotonic(), 0.1))

    async def _end(self, tasks: list[asyncio.Task[None]], parts: Parts) -> None:
        """Say goodbye and end our own tasks, database or no database."""
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=FAREWELL_SECONDS)
        with contextlib.suppress(PgqueueError, psycopg.Error, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await parts.membership.say_goodbye(FAREWELL_SECONDS)

    def _on_mismatch(self, exc: SchemaMismatch) -> None:
        # Nothing can be reported any more, so nothing is worth waiting for.
        self._mismatch = self._mismatch or exc
        self._stop(now=True)

    def _stop(self, now: bool) -> None:  # noqa: FBT001  # a callback of the loop
        self._stopping = True
        self._hurry = self._hurry or now
        if self._change is not None:
            self._change.set()
        if self._parts is not None:
            self._parts.engine.progress.set()

    def _on_signal(self, number: int) -> None:
        again = self._stopping
        log.event(
            _logger,
            logging.INFO,
            "signal received",
            worker=self.settings.name,
            signal=signal.Signals(number).name,
        )
        if again:
            self._exit_code = 128 + number
        self._stop(now=again)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        assert self._loop is not None
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            self._loop.add_signal_handler(number, self._on_signal, int(number))
        try:
            yield
        finally:
            for number in numbers:
                self._loop.remove_signal_handler(number)


def _settings(**options: Any) -> WorkerSettings:
    if "queues" in options:
        options["queues"] = tuple(options["queues"])
    return WorkerSettings(**options)
