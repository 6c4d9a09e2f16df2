"""Fill tables by several connections at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue.bench.queries import statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgqueue.bench.stage import Stage

__all__ = ["Step", "in_parallel"]

# The names of statements that run one after another, and their parameters.
Step = tuple[tuple[str, ...], "Mapping[str, Any]"]

_FILLERS = 4


def in_parallel(stage: Stage, steps: Sequence[Step]) -> None:
    """
    Run the steps, several at once, in no order.

    Args:
        stage: Where.
        steps: What.

    Raises:
        psycopg.Error: One failed; those not begun by then are left out.
    """
    failed: list[psycopg.Error] = []
    threads = [
        threading.Thread(target=_run, args=(stage, steps[n::_FILLERS], failed))
        for n in range(_FILLERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _run(stage: Stage, steps: Sequence[Step], failed: list[psycopg.Error]) -> None:
    try:
        with stage.connect() as connection:
            for names, parameters in steps:
                if failed:
                    return
                for name in names:
                    connection.execute(statement(name).encode(), parameters)
    except psycopg.Error as error:
        failed.append(error)
