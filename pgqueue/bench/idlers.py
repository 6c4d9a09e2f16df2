"""
Many idle workers in one process: `python -m pgqueue.bench.idlers COUNT CONCURRENCY`.

Counts their claims and writes the number to its log when its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

from pgqueue import calls
from pgqueue.bench.handlers import registry
from pgqueue.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]


class _Counted:
    """Counts the calls that claim."""

    def __init__(self) -> None:
        self.claims = 0
        calls.claim = self._counted(calls.claim)
        calls.exchange = self._counted(calls.exchange)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.claims += 1
            return function(*args, **kwargs)

        return counted


async def _work(workers: list[Worker]) -> None:
    await asyncio.gather(*(worker.run() for worker in workers))


def main() -> None:
    """Run until the standard input ends; each of its lines asks for the number of claims so far."""
    counted = _Counted()
    workers = [
        Worker(
            registry,
            settings=WorkerSettings(
                name=f"idle {n}", concurrency=int(sys.argv[2]), shutdown_seconds=2.0
            ),
        )
        for n in range(int(sys.argv[1]))
    ]
    # Not in the main thread: each worker would set signal handlers of its own there.
    thread = threading.Thread(target=lambda: asyncio.run(_work(workers)), daemon=True)
    thread.start()
    for _ in sys.stdin:
        print(f"claims {counted.claims}", flush=True)  # noqa: T201  # the answer
    for worker in workers:
        worker.stop()
    thread.join(10)


if __name__ == "__main__":
    main()
