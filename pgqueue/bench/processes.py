"""Worker processes under load, and the other processes that a case needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgqueue.bench.server import cpu_seconds
from pgqueue.bench.stamps import VARIABLE
from pgqueue.errors import PgqueueError
from pgqueue.worker import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pgqueue.bench.stage import Stage

__all__ = ["Processes", "helper", "stamps_of", "workers"]

START_SECONDS = 60.0
STOP_SECONDS = 20.0
_TAIL_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Processes:
    """Some processes of one kind."""

    running: tuple[subprocess.Popen[bytes], ...]
    log: Path

    def cpu_seconds(self) -> float | None:
        """CPU time of all of them; None if it cannot be seen."""
        found = [cpu_seconds(process.pid) for process in self.running]
        return None if None in found else sum(seconds or 0.0 for seconds in found)

    def check(self) -> bool:
        """
        Make sure that they all run.

        Raises:
            PgqueueError: One has ended; the message holds the end of the log.
        """
        for process in self.running:
            if process.poll() is not None:
                tail = self.log.read_text("utf-8", "replace")[-_TAIL_CHARACTERS:]
                raise PgqueueError(
                    f"a process of the benchmark ended with {process.returncode}: {tail}"
                )
        return True


def stamps_of(stage: Stage) -> Path:
    """The file that the stage's handlers append to."""
    return stage.folder / "stamps"


@contextmanager
def workers(stage: Stage, *, processes: int, concurrency: int) -> Iterator[Processes]:
    """
    Start worker processes and wait until they have registered; they are gone at the end.

    Args:
        stage: Whose database.
        processes: How many.
        concurrency: Of each.
    """
    specs = [
        json_spec(WorkerSettings(concurrency=concurrency, name=f"bench {n}", shutdown_seconds=5.0))
        for n in range(processes)
    ]
    with _started(stage, [("pgqueue.worker", spec) for spec in specs]) as found:

        def registered() -> bool:
            return found.check() and stage.value("live_workers") >= processes

        stage.wait(registered, "the workers register", seconds=START_SECONDS)
        yield found


@contextmanager
def helper(stage: Stage, module: str, *arguments: str) -> Iterator[Processes]:
    """
    Start one of the package's own programs; it is gone at the end.

    Args:
        stage: Whose database.
        module: Its name.
        arguments: Its command line.
    """
    with _started(stage, [(module, *arguments)]) as found:
        yield found


def json_spec(settings: WorkerSettings) -> str:
    """What `python -m pgqueue.worker` takes."""
    return json.dumps(
        {
            "apps": ["pgqueue.bench.handlers"],
            "log_json": False,
            "log_level": "warning",
            "settings": settings.to_json(),
        }
    )


@contextmanager
def _started(stage: Stage, commands: Sequence[tuple[str, ...]]) -> Iterator[Processes]:
    environment = {**os.environ, "PGQUEUE_DSN": stage.dsn, VARIABLE: str(stamps_of(stage))}
    log = stage.folder / "processes.log"
    running: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as written:
        try:
            for command in commands:
                process = subprocess.Popen(
                    [sys.executable, "-m", *command],
                    # Its end tells them to stop, also when we die.
                    stdin=subprocess.PIPE,
                    stdout=written,
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
                running.append(process)
            yield Processes(tuple(running), log)
        finally:
            _stop(running)


def _stop(running: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
    deadline = time.monotonic() + STOP_SECONDS
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
