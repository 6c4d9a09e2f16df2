"""Child processes for handlers with isolation="process": one job each at a time, killed to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgqueue import handling
from pgqueue.handling import Ending, Job
from pgqueue.result import Metrics
from pgqueue.worker import frames
from pgqueue.worker.child import Hello, Reply, Work

if TYPE_CHECKING:
    from pgqueue.connection import Endpoint
    from pgqueue.context import ContextHooks
    from pgqueue.handling import Route

__all__ = ["Processes"]

REAP_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class _Process:
    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def kill(self) -> None:
        """End it and what it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.writer.close()

    async def exit_status(self) -> int | None:
        """How it ended; None if it has not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return await asyncio.to_thread(self.process.wait, REAP_SECONDS)
        return None


class Processes:
    """
    Starts children as they are needed, and keeps as many idle ones as there are CPUs.

    Args:
        where: For the connection of transactional handlers.
        worker: The worker's name.
    """

    def __init__(self, where: Endpoint, *, worker: str) -> None:
        self._hello = Hello(where, worker, _log_level())
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()

    async def run(self, route: Route, job: Any, hooks: ContextHooks) -> Ending:
        """
        Run *job* in a child.

        Cancelling kills the child. A child that dies by itself ends its job as failed with code
        process_died, to be retried.
        """
        child = self._idle_one() or await self._start()
        try:
            ending = await self._converse(child, route, job, hooks)
        except (EOFError, OSError):
            child.kill()
            status = await self._reap(child)
            message = f"the process that ran the handler {_described(status)}"
            return handling.stopped("process_died", message, job)
        except BaseException:
            child.kill()
            await asyncio.shield(self._reap(child))
            raise
        if len(self._idle) < (os.cpu_count() or 1):
            self._idle.append(child)
        else:
            child.kill()
            await self._reap(child)
        return ending

    def close(self) -> None:
        """Kill them all."""
        for child in self._all:
            child.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(REAP_SECONDS)
        self._all.clear()
        self._idle.clear()

    def _idle_one(self) -> _Process | None:
        while self._idle:
            child = self._idle.pop()
            if child.process.poll() is None:
                return child
            child.kill()
            self._all.discard(child)
        return None

    async def _start(self) -> _Process:
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            # From the loop's own thread: the child dies with the thread that started it.
            # -c and not -m: what it pickles must not belong to its __main__.
            path = f"import sys; sys.path[:] = {sys.path!r}"
            code = f"{path}; from pgqueue.worker.child import main; main()"
            process = subprocess.Popen(  # noqa: ASYNC220  # a millisecond; see above
                [sys.executable, "-c", code, str(number), str(os.getpid())],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.setblocking(False)
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            # A child ends with its socket; reaped it must be as well.
            ours.close()
            process.kill()
            await asyncio.shield(asyncio.to_thread(process.wait, REAP_SECONDS))
            raise
        child = _Process(process, reader, writer)
        self._all.add(child)
        writer.write(frames.pack(self._hello))
        return child

    @staticmethod
    async def _converse(child: _Process, route: Route, job: Any, hooks: ContextHooks) -> Ending:
        function = route.function
        child.writer.write(
            frames.pack(Work(function.__module__, function.__qualname__, _copy(job)))
        )
        await child.writer.drain()
        while True:
            match await frames.read(child.reader):
                case ("done", Reply() as reply):
                    return Ending(
                        reply.status,
                        reply.outcome,
                        reply.send,
                        reply.error,
                        Metrics(**reply.metrics),
                    )
                case ("progress", percent, message):
                    hooks.report_progress(percent, message)
                case ("extend", seconds):
                    hooks.extend(seconds)

    async def _reap(self, child: _Process) -> int | None:
        self._all.discard(child)
        return await child.exit_status()


def _copy(job: Any) -> Job:
    return Job(
        job.job_id,
        job.token,
        job.job_type,
        job.queue,
        job.attempt,
        job.max_attempts,
        job.run_seconds_max,
        job.payload,
        job.headers,
        job.tenant_id,
        job.created_at,
    )


def _described(status: int | None) -> str:
    if status is None:
        return "closed its connection and did not end"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"


def _log_level() -> int | None:
    root = logging.getLogger()
    return root.getEffectiveLevel() if root.handlers else None
