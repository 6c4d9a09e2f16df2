"""
Runs claimed jobs: as tasks, in threads, in child processes, with or without a transaction.

Every run ends exactly once here, through `_end`: by its handler, or by decision when the handler
cannot be stopped (a thread past its time limit). Its slot is free when the handler is really over.
"""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
import logging
from typing import TYPE_CHECKING

from pgqueue import handling, log
from pgqueue.errors import ConfigurationError
from pgqueue.handling import Ending, Route
from pgqueue.outcomes import Cancel, Fail, Retry, Snooze, WaitFor
from pgqueue.worker.messages import Hooks
from pgqueue.worker.pools import Pools
from pgqueue.worker.processes import Processes
from pgqueue.worker.runners import Runners, first_step, later_steps
from pgqueue.worker.runs import Run, Stop
from pgqueue.worker.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgqueue.calls import Claimed
    from pgqueue.connection import Endpoint
    from pgqueue.registry import Registry
    from pgqueue.worker.messages import Messages

__all__ = ["RELEASED", "Executor", "routes_of"]

# A handler that swallows its cancellation is given up after this time; its slot is not.
STUBBORN_SECONDS = 5.0

_logger = logging.getLogger("pgqueue.worker")

DROPPED = Ending("lost", send=False)
RELEASED = Ending("released", '{"do":"release"}')
CANCELLED = Ending("cancelled", '{"do":"cancel"}')


def routes_of(registry: Registry) -> dict[str, Route]:
    """
    How the jobs of each type are run.

    Raises:
        ConfigurationError: A handler that a child process could not find.
    """
    routes = {definition.job_type: Route.of(definition) for definition in registry}
    for route in routes.values():
        if route.kind == "process" and route.function.__module__ == "__main__":
            raise ConfigurationError(
                f"job type {route.definition.job_type}: a child process cannot import __main__",
                hint="Move the handler to a module, and give that to --app.",
            )
    return routes


class Executor:
    """
    The slots of one worker.

    Args:
        routes: How each job type is run.
        worker: The worker's name.
        concurrency: How many slots.
        where: For transactional handlers.
        on_end: Called with each run that ended and how; not again for it.
        on_free: Called when slots are free and endings are there.

    Attributes:
        runs: What occupies a slot, by token.
        messages: Where handlers' progress goes; set before the first start.
    """

    def __init__(
        self,
        routes: dict[str, Route],
        *,
        worker: str,
        concurrency: int,
        where: Endpoint,
        on_end: Callable[[Run, Ending], None],
        on_free: Callable[[], None],
    ) -> None:
        self.runs: dict[int, Run] = {}
        self.messages: Messages
        self._routes = routes
        self._worker = worker
        self._on_end = on_end
        self._on_free = on_free
        self._loop = asyncio.get_running_loop()
        # What was set when the worker was made, as in the tasks of its loop.
        self._context = contextvars.copy_context()
        self._runners = Runners(self._run, rested=self._tell)
        self._news = False
        self._threads = Threads(concurrency, name=f"pgqueue {worker}")
        self._processes = Processes(where, worker=worker)
        self._pools = Pools(where, concurrency)

    def start(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        """Start claimed jobs, and return at once: those that no handler here has the type of."""
        strange: list[Claimed] = []
        talkative = _logger.isEnabledFor(logging.INFO)
        now = dt.datetime.now(dt.UTC)
        for job in claimed:
            route = self._routes.get(job.job_type)
            if route is None:
                strange.append(job)
                continue
            run = Run(job, route, now)
            self.runs[job.token] = run
            if talkative:
                self._log_start(job)
            self._runners.start(run)
        return strange

    def _log_start(self, job: Claimed) -> None:
        log.event(
            _logger,
            logging.INFO,
            "job started",
            job_id=job.job_id,
            job_type=job.job_type,
            attempt=job.attempt,
            token=job.token,
            worker=self._worker,
        )

    def stop(self, reason: Stop) -> None:
        """Ask every run to stop."""
        for run in tuple(self.runs.values()):
            self.stop_one(run, reason)

    def stop_one(self, run: Run, reason: Stop) -> None:
        """Ask *run* to stop."""
        # Asked once, twice when it is LOST: each time would grant it STUBBORN_SECONDS anew.
        if run.ended or run.stop is reason or (run.stop is not None and reason is not Stop.LOST):
            return
        run.request(reason)
        if run.route.kind != "thread":
            run.limit(STUBBORN_SECONDS, self._give_up)

    def expire(self, run: Run) -> None:
        """Stop *run*: its time limit has passed."""
        self.stop_one(run, Stop.TIMEOUT)
        if run.route.kind == "thread" and not run.finishing:
            self._give_up(run)

    def abandon(self) -> None:
        """End every run that is left as released, whatever its handler still does."""
        for run in tuple(self.runs.values()):
            if not run.ended:
                run.request(Stop.RELEASE)
                self._end(run, RELEASED)
        self._on_free()

    async def close(self) -> None:
        """Stop everything hard: tasks, children, pools."""
        self._runners.close()
        self._processes.close()
        self._threads.close()
        await self._pools.close()

    async def _run(self, run: Run) -> None:
        run.begun = True
        try:
            if run.stop is not None:
                raise asyncio.CancelledError  # noqa: TRY301  # the same way out
            ending = await self._isolated(run)
        except BaseException as exc:  # a handler's SystemExit ends its job, not the worker
            ending = self._interrupted(run, exc)
        self._end(run, ending)
        if run.timer is not None:
            run.unlimited()
        self.runs.pop(run.job.token, None)
        self._news = True

    async def _isolated(self, run: Run) -> Ending:
        """Run it in a context of its own."""
        work, context = self._ending_of(run), self._context.copy()
        finished, found = first_step(work, context)
        if finished:
            return found  # type: ignore[no-any-return]
        # Only now: what never waits cannot be interrupted anyway.
        if run.job.run_seconds_max is not None and run.timer is None:
            run.limit(run.job.run_seconds_max, self.expire)
        # Those that ended before may be reported meanwhile.
        self._tell()
        return await later_steps(work, context, found)  # type: ignore[no-any-return]

    async def _ending_of(self, run: Run) -> Ending:
        route, job = run.route, run.job
        if route.kind == "process":
            return await self._processes.run(route, job, self._hooks(run))
        if route.transactional:
            return await self._in_transaction(run)
        hooks = self._hooks(run) if route.wants_context else None
        context, arguments = handling.prepare(route, job, worker=self._worker, hooks=hooks)
        run.context = context
        if route.kind == "thread":
            result = await self._threads.run(lambda: route.function(**arguments))
        else:
            result = await route.function(**arguments)
        return handling.success(context, result)

    def _tell(self) -> None:
        if self._news:
            self._news = False
            self._on_free()

    async def _in_transaction(self, run: Run) -> Ending:
        route, job, hooks = run.route, run.job, self._hooks(run)
        if route.kind == "thread":
            return await self._threads.run(  # type: ignore[no-any-return]
                lambda: self._pools.run_sync(run, route, job, worker=self._worker, hooks=hooks)
            )
        return await self._pools.run_async(run, route, job, worker=self._worker, hooks=hooks)

    def _hooks(self, run: Run) -> Hooks:
        return Hooks(run, self.messages, self._loop)

    def _interrupted(self, run: Run, exc: BaseException) -> Ending:
        """End a run whose handler raised: because it was stopped, or by itself."""
        match run.stop:
            case Stop.LOST:
                return DROPPED
            case Stop.TIMEOUT:
                return self._timed_out(run)
            case Stop.RELEASE | Stop.LEASE if not isinstance(exc, Retry | Snooze | WaitFor | Fail):
                # Cancel too: ctx.check_cancelled() raises it, and nobody has cancelled the job.
                return RELEASED
            case Stop.CANCEL if isinstance(exc, asyncio.CancelledError):
                return CANCELLED
            case Stop.CANCEL if isinstance(exc, Cancel) and exc.reason == run.stop.value:
                # From ctx.check_cancelled(): the reason is that of the request.
                return CANCELLED
            case _:
                return handling.failure(run.context, exc, run.job)

    def _give_up(self, run: Run) -> None:
        """Decide the ending of a run that does not stop; its slot stays taken until it does."""
        if run.ended:
            return
        log.event(
            _logger,
            logging.WARNING,
            "handler does not stop",
            job_id=run.job.job_id,
            job_type=run.job.job_type,
            token=run.job.token,
            reason=run.stop.value if run.stop else None,
        )
        match run.stop:
            case Stop.TIMEOUT:
                self._end(run, self._timed_out(run))
            case Stop.CANCEL:
                self._end(run, CANCELLED)
            case Stop.LOST:
                self._end(run, DROPPED)
            case _:
                self._end(run, RELEASED)
        self._on_free()

    def _end(self, run: Run, ending: Ending) -> None:
        if run.ended:
            log.event(
                _logger,
                logging.WARNING,
                "handler stopped late",
                job_id=run.job.job_id,
                job_type=run.job.job_type,
                token=run.job.token,
            )
            return
        run.ended = True
        self._on_end(run, ending)

    @staticmethod
    def _timed_out(run: Run) -> Ending:
        message = "the handler ran longer than its time limit"
        metrics = run.context.metrics if run.context is not None else None
        return handling.stopped("timeout", message, run.job, metrics=metrics)
