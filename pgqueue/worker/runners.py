"""
Tasks that run many jobs each: a handler that never waits costs no task of its own.

    start ──> waiting ──> a runner takes one after the other, until one of them waits
                          └─ then the next runner, already called, goes on with the others

A runner that has jobs behind the one that it begins has called a successor for the next turn of
the loop. So there are as many tasks as jobs that wait at the same time, and a few more; not one per
job. Worker CPU per no-op job: 20.8 microseconds with a task each, 10.4 so.
A handler still runs in a task, as asyncio.timeout() and TaskGroup want it, and in a context of its
own: what one job puts into a ContextVar no other job sees.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine, Generator

    from pgqueue.worker.runs import Run

__all__ = ["Runners", "first_step", "later_steps"]

# Runners that have nothing to do; the others end.
PARKED_MAX = 100
# How long handlers that never wait keep the loop from the heartbeat and everything else.
SLICE_SECONDS = 0.005
# Successors called at once, while one after the other finds its predecessor waiting.
CALLED_MAX = 64


class Runners:
    """
    Runs runs.

    Args:
        perform: Runs one to its end; never raises.
        rested: Called when a runner has nothing to do for now.
    """

    def __init__(
        self, perform: Callable[[Run], Coroutine[Any, Any, None]], *, rested: Callable[[], None]
    ) -> None:
        self._perform = perform
        self._rested = rested
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Run] = deque()
        self._parked: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # Runners on their way, and how many to call: doubled while each finds the one before it
        # waiting, for then it takes a turn of the loop to begin the next job.
        self._called = 0
        self._wanted = 0

    @property
    def tasks(self) -> int:
        """How many there are."""
        return len(self._tasks)

    def start(self, run: Run) -> None:
        """Have *run* run, at the next turn of the loop."""
        self._waiting.append(run)
        if not self._called:
            self._call()

    def close(self) -> None:
        """Cancel every runner, and with it what it runs."""
        self._waiting.clear()
        for task in tuple(self._tasks):
            task.cancel()

    def _call(self) -> None:
        self._called += 1
        while self._parked:
            future = self._parked.pop()
            if not future.done():
                future.set_result(None)
                return
        task = self._loop.create_task(self._serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        while True:
            self._called -= 1
            self._wanted = min(max(1, 2 * self._wanted), CALLED_MAX) if self._waiting else 0
            await self._work(task)
            self._rested()
            # A cancelled task stays one: asyncio.timeout() of the next job would misread that.
            if task.cancelling() or len(self._parked) >= PARKED_MAX:
                return
            parked = self._loop.create_future()
            self._parked.append(parked)
            await parked

    async def _work(self, task: asyncio.Task[None]) -> None:
        """Run what waits, until it is all begun, or the loop must have a turn."""
        waiting = self._waiting
        until = time.monotonic() + SLICE_SECONDS
        while waiting:
            run = waiting.popleft()
            while self._called < min(max(1, self._wanted), len(waiting)):
                self._call()
            run.task = task
            await self._perform(run)
            if time.monotonic() > until or task.cancelling():
                # Somebody is on his way if anything waits; several would make one long slice.
                self._wanted = 0
                return


def first_step(work: Coroutine[Any, Any, Any], context: contextvars.Context) -> tuple[bool, Any]:
    """
    Run *work* in *context* until it waits.

    Returns:
        True and its result, or False and what it waits for.

    Raises:
        BaseException: Whatever it raised.
    """
    try:
        return False, context.run(work.send, None)
    except StopIteration as done:
        return True, done.value


@types.coroutine
def later_steps(
    work: Coroutine[Any, Any, Any], context: contextvars.Context, wanted: Any
) -> Generator[Any, Any, Any]:
    """Run the rest of *work*, which waits for *wanted*; returns its result."""
    while True:
        step: Callable[..., Any] = work.send
        value: Any
        try:
            value = yield wanted
        except GeneratorExit:
            context.run(work.close)
            raise
        except BaseException as exc:  # a cancellation, for the handler to see
            step, value = work.throw, exc
        try:
            wanted = context.run(step, value)
        except StopIteration as done:
            return done.value
