"""
Threads for synchronous handlers.

Not concurrent.futures: at exit the interpreter waits for its threads, and a handler that ignores
`ctx.cancelled` would keep a stopped worker alive. These are daemons.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Threads"]

_Work = tuple["Callable[[], Any]", "asyncio.Future[Any]"]


class Threads:
    """
    Up to *limit* threads, started as they are needed.

    Args:
        limit: How many.
        name: Prefix of their names.
    """

    def __init__(self, limit: int, *, name: str) -> None:
        self._limit = limit
        self._name = name
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._started = 0
        self._busy = 0
        self._loop = asyncio.get_running_loop()

    async def run(self, function: Callable[[], Any]) -> Any:
        """Call *function* in a thread and return what it returns; cancelling does not stop it."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._busy += 1
        if self._busy > self._started < self._limit:
            self._started += 1
            name = f"{self._name}-{self._started}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._work.put((function, future))
        try:
            result, error = await future
        finally:
            self._busy -= 1
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Let the threads end when they have nothing to do."""
        for _ in range(self._started):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            function, future = work
            try:
                result, error = function(), None
            except BaseException as exc:  # a handler's SystemExit ends its job, not the thread
                result, error = None, exc
            try:
                self._loop.call_soon_threadsafe(_settle, future, (result, error))
            except RuntimeError:
                return  # the loop is closed: the worker has stopped without us
            del work, function, future, result, error


def _settle(future: asyncio.Future[Any], answer: tuple[Any, BaseException | None]) -> None:
    # As a value: a future refuses StopIteration as an exception, and would never be done.
    if not future.done():
        future.set_result(answer)
