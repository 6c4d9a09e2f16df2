"""
A child process that runs the handlers with isolation="process", one job at a time.

It may be killed at any moment: that is what it is for. It ends when its parent does.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import queue
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgqueue import handling, log
from pgqueue.handling import Ending, Route
from pgqueue.worker import frames, transaction

if TYPE_CHECKING:
    from pgqueue.connection import BoundedConnection, Endpoint
    from pgqueue.context import JobContext
    from pgqueue.handling import Job

__all__ = ["Hello", "Reply", "Work", "main"]

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message: what the child needs to know."""

    where: Endpoint
    worker: str
    log_level: int | None


@dataclass(frozen=True, slots=True)
class Work:
    """One job."""

    module: str
    qualname: str
    job: Job


@dataclass(frozen=True, slots=True)
class Reply:
    """How it ended, without what does not travel."""

    status: str
    outcome: str | None
    send: bool
    error: Any
    metrics: dict[str, Any]


class _Voice:
    """Speaks to the worker; it is also the ContextHooks, which handlers call from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def say(self, message: object) -> None:
        """Send one whole message: sendall() of two threads may mix theirs."""
        data = frames.pack(message)
        with self._lock:
            self._sock.sendall(data)

    def report_progress(self, percent: float, message: str | None) -> None:
        """Pass it on."""
        self.say(("progress", percent, message))

    def extend(self, seconds: float) -> None:
        """Pass it on."""
        self.say(("extend", seconds))


class _Child:
    """The state of this process: the routes that it has loaded, and its connection."""

    def __init__(self, voice: _Voice, hello: Hello) -> None:
        self._hooks = voice
        self._hello = hello
        self._routes: dict[tuple[str, str], Route] = {}
        self._database: BoundedConnection | None = None
        # transaction.Carrier
        self.context: JobContext | None = None
        self.connection: Any = None
        self.finishing = False

    def run(self, work: Work) -> Ending:
        """Run one job to its end, whatever that is."""
        self.context = None
        try:
            route = self._route(work)
            if route.transactional:
                return self._in_transaction(route, work.job)
            self.context, arguments = handling.prepare(
                route, work.job, worker=self._hello.worker, hooks=self._hooks
            )
            return handling.success(self.context, route.function(**arguments))
        except BaseException as exc:  # a handler's SystemExit ends its job, not the process
            return handling.failure(self.context, exc, work.job)

    def _in_transaction(self, route: Route, job: Job) -> Ending:
        while True:
            fresh = self._database is None
            conn = self._database or self._hello.where.connect()
            self._database = conn
            try:
                return transaction.run_sync(
                    conn, self, route, job, worker=self._hello.worker, hooks=self._hooks
                )
            except transaction.Stale:
                if fresh:
                    raise
            finally:
                if conn.closed or conn.broken:
                    self._database = None

    def _route(self, work: Work) -> Route:
        key = (work.module, work.qualname)
        if key not in self._routes:
            function = getattr(importlib.import_module(work.module), work.qualname)
            self._routes[key] = Route.of(function.job)
        return self._routes[key]


def main() -> None:
    """Serve the socket whose number is the first argument; the second is the parent's pid."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    _die_with(int(sys.argv[2]))
    # Ctrl-C and the supervisor's signals are for the worker, which knows what runs here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hello: Hello = frames.receive(sock)
    if hello.log_level is not None:
        log.configure(hello.log_level)
    jobs: queue.SimpleQueue[Work] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sock, jobs), daemon=True).start()
    voice = _Voice(sock)
    child = _Child(voice, hello)
    while True:
        work = jobs.get()
        ending = child.run(work)
        metrics = ending.metrics.to_dict()
        reply = Reply(ending.status, ending.outcome, ending.send, ending.error, metrics)
        voice.say(("done", reply))


def _receive(sock: socket.socket, jobs: queue.SimpleQueue[Work]) -> None:
    try:
        while True:
            jobs.put(frames.receive(sock))
    except BaseException:
        os._exit(0)  # the worker is gone, and with it whoever wants the result


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)  # it died before we asked
