"""A real worker process, and its log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgqueue.demo.telling import indented
from pgqueue.errors import PgqueueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["WorkerProcess", "worker_process"]

STOP_SECONDS = 40.0  # a worker gives its handlers 25 s
_TAIL_LINES = 30


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """
    `pgqueue worker` in a process of its own.

    Attributes:
        command: Its command line.
        log: What it wrote to stdout and stderr.
    """

    command: tuple[str, ...]
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """
        Make sure that it runs.

        Raises:
            PgqueueError: It ended.
        """
        if self.process.poll() is not None:
            raise PgqueueError(f"the worker ended by itself: {self._ended()}")

    def stop(self) -> None:
        """
        Send SIGTERM and wait until it has ended by itself.

        Raises:
            PgqueueError: It did not, or its exit code is not 0.
        """
        self.check()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as exc:
            raise PgqueueError(
                f"the worker did not stop within {STOP_SECONDS:g} s\n{self.tail()}"
            ) from exc
        if self.process.returncode != 0:
            raise PgqueueError(f"the worker stopped badly: {self._ended()}")

    def log_lines(self) -> list[str]:
        """Its log so far."""
        return self.log.read_text("utf-8", "replace").splitlines()

    def tail(self) -> str:
        """The end of its log, for an error message."""
        return f"its log ends with:\n{indented(chr(10).join(self.log_lines()[-_TAIL_LINES:]))}"

    def _ended(self) -> str:
        return f"exit code {self.process.returncode}; {self.tail()}"


@contextmanager
def worker_process(
    app: str, dsn: str, *, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[WorkerProcess]:
    """
    Start a worker; whatever happens, it is gone at the end.

    Args:
        app: The module of its handlers.
        dsn: Its database; passed in the environment, which is not public as arguments are.
        folder: The directory to look for *app* from.
        environment: More variables.
    """
    with tempfile.TemporaryDirectory(prefix="pgqueue-demo-") as temporary:
        log = Path(temporary) / "worker.log"
        command = ("pgqueue", "worker", "--app", app, "--concurrency", "4")
        with log.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=folder,
                env={
                    **os.environ,
                    **(environment or {}),
                    "PGQUEUE_DSN": dsn,
                    "PYTHONUNBUFFERED": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        worker = WorkerProcess(command, process, log)
        try:
            yield worker
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    # After Ctrl-C the worker has had its own SIGINT; a second signal makes it stop at once.
    deadline = time.monotonic() + STOP_SECONDS
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds or max(deadline - time.monotonic(), 1.0))
        except subprocess.TimeoutExpired:
            continue
