"""Enqueue as fast as the server takes it: with pgbench, or with Python where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from pgqueue.bench.model import Unavailable
from pgqueue.bench.pgbench import stop
from pgqueue.bench.queries import statement

if TYPE_CHECKING:
    from pgqueue.bench.pgbench import Pgbench
    from pgqueue.bench.stage import Stage

__all__ = ["describe_producers", "transactions_per_second"]

VALUES_ROWS = 100
_GRACE_SECONDS = 150.0


def describe_producers(pgbench: Pgbench | None) -> str:
    """What enqueues, for the head of the report."""
    return pgbench.version if pgbench else "Python processes (no pgbench found: slower)"


def transactions_per_second(stage: Stage, name: str, *, clients: int) -> float:
    """
    Run a script for the stage's seconds.

    Args:
        stage: Whose database.
        name: Of the script, without `script_`.
        clients: How many connections.

    Raises:
        Unavailable: It failed, or the server takes fewer connections.
    """
    if clients > stage.server.connections:
        raise Unavailable(f"the server takes {stage.server.connections} more connections")
    seconds = stage.settings.seconds
    if stage.pgbench is not None:
        return stage.pgbench.run(stage.dsn, script(name), clients=clients, seconds=seconds).rate
    return _by_python(stage, f"script_{name}", clients=clients, seconds=seconds)


def script(name: str) -> str:
    """The text of a script; a VALUES list is written out."""
    text = statement(f"script_{name}")
    return text.replace("VALUES", ", ".join([statement("values")] * VALUES_ROWS))


def _by_python(stage: Stage, name: str, *, clients: int, seconds: float) -> float:
    processes = min(clients, os.cpu_count() or 1)
    shares = [clients // processes + (n < clients % processes) for n in range(processes)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "pgqueue.bench.producer", name, str(share), str(seconds)],
            env={**os.environ, "PGQUEUE_DSN": stage.dsn},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    try:
        said = [process.communicate(timeout=seconds + _GRACE_SECONDS)[0] for process in running]
        return sum(float(text) for text in said)
    except (ValueError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"a producing process failed: {error}") from error
    finally:
        for process in running:
            stop(process)
