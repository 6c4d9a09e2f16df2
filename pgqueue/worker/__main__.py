"""
One worker of a supervisor: `python -m pgqueue.worker SPEC`, SPEC being JSON from the supervisor.

Stops when its standard input ends: then the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

from pgqueue import log
from pgqueue.errors import PgqueueError
from pgqueue.registry import Registry, load_app
from pgqueue.worker.settings import WorkerSettings
from pgqueue.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["load_apps", "main", "run_worker"]


def load_apps(apps: Sequence[str]) -> Registry:
    """
    One registry of the handlers of all *apps*.

    Raises:
        ConfigurationError: An app is missing or broken, or two declare the same job type.
    """
    if len(apps) == 1:
        return load_app(apps[0])
    registry = Registry("all apps")
    for app in apps:
        registry.include(load_app(app))
    return registry


def run_worker(worker: Worker) -> int:
    """Run *worker* in a new event loop, uvloop where it is installed; returns the exit code."""
    try:
        import uvloop  # noqa: PLC0415  # an extra
    except ImportError:
        return asyncio.run(worker.run())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(worker.run())


def main() -> None:
    """Run as the supervisor says."""
    spec = json.loads(sys.argv[1])
    log.configure(spec["log_level"], json=spec["log_json"])
    try:
        settings = WorkerSettings.from_json(spec["settings"])
        worker = Worker(load_apps(spec["apps"]), settings=settings)
        threading.Thread(target=_watch_parent, args=(worker,), daemon=True).start()
        code = run_worker(worker)
    except PgqueueError as exc:
        logger = logging.getLogger("pgqueue.worker")
        log.event(logger, logging.ERROR, "worker cannot run", error=str(exc))
        code = exc.exit_code
    logging.shutdown()
    sys.stderr.flush()
    # Not sys.exit: a handler's thread that does not end must not hold up the process.
    os._exit(code)


def _watch_parent(worker: Worker) -> None:
    while os.read(0, 4_096):
        pass
    logger = logging.getLogger("pgqueue.worker")
    log.event(logger, logging.INFO, "supervisor is gone", worker=worker.settings.name)
    worker.stop()


if __name__ == "__main__":
    main()
