"""
Several worker processes under one: starts them, forwards signals, starts again what crashed.

Workers that cannot even start are not started for ever: the supervisor ends with their exit code,
at once where another try cannot help (a broken app, another schema, a standby). One that crashes
later is started again, after a growing pause.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pgqueue import log
from pgqueue.errors import ConfigurationError, DatabaseUnavailable, NotPrimary, SchemaMismatch
from pgqueue.worker.settings import PORT_MAX
from pgqueue.worker.waiting import Backoff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgqueue.worker.settings import WorkerSettings

__all__ = ["run_supervised"]

# A process that lived so long had started properly.
SETTLED_SECONDS = 10.0
START_FAILURES_MAX = 3
RESTART_BASE_SECONDS = 0.5
RESTART_CAP_SECONDS = 30.0
# Above the worker's own shutdown_seconds: it releases and reports after that.
KILL_SECONDS = 15.0
TICK_SECONDS = 0.1
# At its first start. A worker that misses its server waits longer than SETTLED_SECONDS before it
# ends with NotPrimary's code, which is DatabaseUnavailable's too.
PERMANENT = frozenset(
    {ConfigurationError.exit_code, SchemaMismatch.exit_code, NotPrimary.exit_code}
)
STOPS = (signal.SIGTERM, signal.SIGINT)
# A process in an uninterruptible wait does not end even then.
REAP_SECONDS = 5.0

_logger = logging.getLogger("pgqueue.supervisor")


@dataclass(slots=True)
class _Slot:
    """One of the worker processes, over its restarts."""

    number: int
    backoff: Backoff = field(
        default_factory=lambda: Backoff(RESTART_BASE_SECONDS, RESTART_CAP_SECONDS)
    )
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    start_failures: int = 0
    has_settled: bool = False
    over: bool = False


def run_supervised(
    apps: Sequence[str],
    *,
    settings: WorkerSettings,
    processes: int,
    dsn: str | None = None,
    log_level: int | str = "INFO",
    log_json: bool = False,
) -> int:
    """
    Run *processes* workers until they have stopped.

    Args:
        apps: The modules that declare the handlers.
        settings: Of each worker; their names get a number.
        processes: How many.
        dsn: As in pgqueue.dsn; it reaches the workers through their environment.
        log_level: For the workers.
        log_json: For the workers.

    Returns:
        The exit code: 0 when all stopped as they were told to.

    Raises:
        ConfigurationError: There are not so many ports from `health_port` on.
    """
    if settings.health_port is not None and settings.health_port + processes - 1 > PORT_MAX:
        raise ConfigurationError(
            f"{processes} processes from health_port {settings.health_port} on need ports above"
            f" {PORT_MAX}"
        )
    return _Supervisor(
        apps, settings, processes, dsn=dsn, log_level=log_level, log_json=log_json
    ).run()


class _Supervisor:
    def __init__(
        self,
        apps: Sequence[str],
        settings: WorkerSettings,
        processes: int,
        *,
        dsn: str | None,
        log_level: int | str,
        log_json: bool,
    ) -> None:
        self._apps = list(apps)
        self._settings = settings
        self._environment = dict(os.environ) if dsn is None else {**os.environ, "PGQUEUE_DSN": dsn}
        self._logging = {"log_level": log_level, "log_json": log_json}
        self._slots = [_Slot(number) for number in range(1, processes + 1)]
        self._stopping = False
        self._kill_at: float | None = None
        self._exit_code = 0
        self._wake = threading.Event()

    def run(self) -> int:
        """Supervise until every slot is over."""
        previous = {number: signal.signal(number, self._on_signal) for number in STOPS}
        try:
            while not all(slot.over for slot in self._slots):
                for slot in self._slots:
                    self._look_after(slot)
                self._wake.wait(TICK_SECONDS)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._kill()
        return self._exit_code

    def _look_after(self, slot: _Slot) -> None:
        if slot.over:
            return
        if slot.process is None:
            if self._stopping:
                slot.over = True
            elif time.monotonic() >= slot.start_at:
                self._start(slot)
        elif (status := slot.process.poll()) is not None:
            self._ended(slot, status)
        elif self._kill_at is not None and time.monotonic() > self._kill_at:
            slot.process.kill()

    def _start(self, slot: _Slot) -> None:
        settings = self._settings
        port = settings.health_port
        settings = replace(
            settings,
            name=f"{settings.name}-{slot.number}",
            health_port=None if port is None else port + slot.number - 1,
        )
        spec = {"apps": self._apps, "settings": settings.to_json(), **self._logging}
        # In a session of its own: Ctrl-C reaches it once, through us.
        slot.process = subprocess.Popen(
            [sys.executable, "-m", "pgqueue.worker", json.dumps(spec)],
            stdin=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        slot.started_at = time.monotonic()
        self._say(logging.INFO, "worker process started", slot)

    def _ended(self, slot: _Slot, status: int) -> None:
        # Told to stop before it could handle the signal: it had nothing to finish.
        as_told = self._stopping and -status in STOPS
        # A second signal, or what we give up for already.
        known = self._stopping and status in {self._exit_code, *(128 + n for n in STOPS)}
        self._say(
            logging.INFO if status == 0 or as_told or known else logging.ERROR,
            "worker process ended",
            slot,
            status=None if as_told else status,
        )
        settled = time.monotonic() - slot.started_at >= SETTLED_SECONDS
        assert slot.process is not None
        if slot.process.stdin is not None:
            slot.process.stdin.close()
        slot.process = None
        if status == 0 or self._stopping:
            # Zero: drained, by an operator or because the queues are empty.
            slot.over = True
            if status and not as_told:
                self._exit_code = self._exit_code or (status if status > 0 else 128 - status)
            return
        # All workers share the schema: one that ran and finds another one speaks for the rest.
        permanent = status == SchemaMismatch.exit_code or (
            status in PERMANENT and not slot.has_settled and not settled
        )
        if settled:
            slot.has_settled = True
            slot.backoff.reset()
            slot.start_failures = 0
        elif status != DatabaseUnavailable.exit_code:
            slot.start_failures += 1
        if permanent or slot.start_failures >= START_FAILURES_MAX:
            self._say(logging.ERROR, "worker process cannot run, giving up", slot, status=status)
            slot.over = True
            self._exit_code = status if status > 0 else 1
            self._stop_all(signal.SIGTERM)
            return
        slot.start_at = time.monotonic() + slot.backoff.next()

    def _on_signal(self, number: int, _: object) -> None:
        self._stop_all(number)
        self._wake.set()

    def _stop_all(self, number: int) -> None:
        self._stopping = True
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._settings.shutdown_seconds + KILL_SECONDS
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(number)

    def _kill(self) -> None:
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is None:
                slot.process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    slot.process.wait(REAP_SECONDS)

    @staticmethod
    def _say(level: int, name: str, slot: _Slot, *, status: int | None = None) -> None:
        pid = slot.process.pid if slot.process is not None else None
        killed_by = exit_code = None
        if status is not None and status < 0:
            killed_by = signal.Signals(-status).name
        elif status is not None:
            exit_code = status
        log.event(
            _logger,
            level,
            name,
            number=slot.number,
            pid=pid,
            exit_code=exit_code,
            killed_by=killed_by,
        )
