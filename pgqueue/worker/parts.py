"""The parts of one worker, wired together."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pgqueue import log
from pgqueue.connection import endpoint
from pgqueue.dsn import Timeouts
from pgqueue.worker.doorbell import Doorbell
from pgqueue.worker.engine import Engine
from pgqueue.worker.exchange import Exchange
from pgqueue.worker.executor import Executor
from pgqueue.worker.floors import Floors
from pgqueue.worker.health import Health
from pgqueue.worker.link import CALL_SECONDS, LOCK_SECONDS, RETRY_CAP_SECONDS, Link, Outages
from pgqueue.worker.maintenance import Maintenance
from pgqueue.worker.membership import BEATS_PER_LEASE, Membership
from pgqueue.worker.messages import Messages
from pgqueue.worker.outbox import Outbox
from pgqueue.worker.reporter import Reporter
from pgqueue.worker.runs import Stop
from pgqueue.worker.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.errors import Diagnostic

    from pgqueue.connection import AsyncBoundedConnection, Endpoint
    from pgqueue.handling import Ending, Route
    from pgqueue.worker.runs import Run
    from pgqueue.worker.settings import WorkerSettings

__all__ = ["Parts"]

# One second above our own deadline: what we have given up ends on the server too.
LIMITS = Timeouts(statement=CALL_SECONDS + 1, lock=LOCK_SECONDS)
# How long a handler's own statements may take is its business.
UNLIMITED = Timeouts(statement=0, lock=0, idle_in_transaction=0)
# Endings that are logged as INFO, if the database agrees.
QUIET = frozenset({"succeeded", "snoozed", "paused", "released", "cancelled", "lost"})
# Maintenance repeats a warning each second while its cause lasts.
WARN_AGAIN_SECONDS = 60.0
WARNINGS_MAX = 100

_logger = logging.getLogger("pgqueue.worker")


class Parts:
    """
    What one worker consists of.

    Args:
        settings: The worker's.
        routes: Its handlers.
        dsn: As in pgqueue.dsn.
        pooled: A transaction pooler stands in between: no doorbell, no prepared statements.
        on_stop: Stops the worker.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        routes: dict[str, Route],
        dsn: str | None,
        pooled: bool,
        on_stop: Callable[[], None],
    ) -> None:
        self._name = settings.name
        self._dsn = dsn
        self._pooled = pooled
        self.outages = outages = Outages(settings.name)
        self._warned: dict[str, float] = {}
        lease_quarter = settings.lease_seconds / BEATS_PER_LEASE
        self.outbox = Outbox(settings.name)
        self.claims = Link(self._where("worker"), role="worker", outages=outages)
        self.control = Link(
            self._where("control"),
            role="control",
            outages=outages,
            on_open=self._hear_warnings,
            # The lease must outlive an outage of a moment and the pause after it.
            retry_seconds_max=min(RETRY_CAP_SECONDS, lease_quarter),
        )
        # Of no importance: without it the endings go with the claims, and those say what is wrong.
        silent = Outages(settings.name, quiet=True)
        self.reporter = Reporter(
            Link(self._where("reports"), role="reports", outages=silent),
            self.outbox,
            workers=lambda: self.maintenance.workers,
            on_settled=self._wake,
        )
        self.executor = Executor(
            routes,
            worker=settings.name,
            concurrency=settings.concurrency,
            where=self._where("handler", UNLIMITED),
            on_end=self._on_end,
            on_free=self._wake,
        )
        self.messages = Messages(
            self.control,
            seconds=lease_quarter,
            expired=self.executor.expire,
            lost=lambda run: self.executor.stop_one(run, Stop.LOST),
        )
        self.executor.messages = self.messages
        self.membership = Membership(
            self.control,
            settings=settings,
            job_types=sorted(routes),
            executor=self.executor,
            on_drain=on_stop,
            on_change=self._wake,
        )
        self.bell = None if pooled else self._doorbell(settings, outages)
        self.engine = self._engine(settings, on_drained=on_stop)
        self.maintenance = Maintenance(self.control, membership=self.membership)
        self.health = Health(self._state)

    async def close(self) -> None:
        """Close every connection, child and socket."""
        self.health.close()
        self.membership.close()
        if self.bell is not None:
            self.bell.close()
        await self.executor.close()
        await self.reporter.close()
        self.claims.drop()
        self.control.drop()

    def _engine(self, settings: WorkerSettings, *, on_drained: Callable[[], None]) -> Engine:
        stream = Stream()
        exchange = Exchange(
            self.claims,
            membership=self.membership,
            executor=self.executor,
            outbox=self.outbox,
            reporter=self.reporter,
            floors=Floors(settings.queues),
            stream=stream,
            concurrency=settings.concurrency,
        )
        return Engine(
            exchange,
            membership=self.membership,
            executor=self.executor,
            outbox=self.outbox,
            bell=self.bell,
            stream=stream,
            concurrency=settings.concurrency,
            poll_seconds=settings.poll_seconds,
            alike=lambda: self.maintenance.alike,
            drain=settings.drain,
            on_drained=on_drained,
        )

    def _doorbell(self, settings: WorkerSettings, outages: Outages) -> Doorbell:
        return Doorbell(
            self._where("doorbell"),
            settings.queues,
            outages=outages,
            on_ring=self._wake,
            on_cancel=self.membership.beat_soon,
        )

    async def _hear_warnings(self, conn: AsyncBoundedConnection) -> None:
        """Log what the database warns of: a part of maintain() that failed does not raise."""
        conn.add_notice_handler(self._warn)

    def _warn(self, notice: Diagnostic) -> None:
        message = notice.message_primary or ""
        now = time.monotonic()
        if notice.severity_nonlocalized != "WARNING" or now < self._warned.get(message, 0.0):
            return
        if len(self._warned) >= WARNINGS_MAX:
            self._warned.clear()
        self._warned[message] = now + WARN_AGAIN_SECONDS
        log.event(_logger, logging.WARNING, "database warning", worker=self._name, message=message)

    def _on_end(self, run: Run, ending: Ending) -> None:
        job, result = run.job, None
        if ending.status not in QUIET or _logger.isEnabledFor(logging.INFO):
            # What the handler returned is not logged, and must not wait in memory for the report.
            result = replace(ending, result=None).job_result(job, run.started)
        if ending.send:
            self.outbox.add(job.key, job.token, ending.outcome, result=result)
        elif result is not None:
            result.log(_logger, token=job.token, worker=self._name)

    def _wake(self) -> None:
        self.engine.wake()

    def _state(self) -> dict[str, Any]:
        connected = self.claims.connection is not None and self.control.connection is not None
        return {
            "ready": connected and self.membership.valid and self.engine.claiming,
            "worker": self._name,
            "worker_id": self.membership.worker_id,
            "connected": connected,
            "lease_valid": self.membership.valid,
            "claiming": self.engine.claiming,
            "running": len(self.executor.runs),
            "to_report": len(self.outbox),
        }

    def _where(self, role: str, limits: Timeouts = LIMITS) -> Endpoint:
        return endpoint(
            self._dsn,
            application_name=f"pgqueue {role} {self._name}",
            timeouts=limits,
            pooler=self._pooled,
        )
