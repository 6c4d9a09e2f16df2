"""Wait for a fact, with a deadline. For what sends no signal that a test could wait on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

_PAUSE_SECONDS = 0.02


def eventually(fact: Callable[[], object], *, seconds: float = 20.0, what: str = "") -> None:
    """
    Poll until *fact* is true.

    Args:
        fact: Cheap to ask.
        seconds: The deadline.
        what: Names the fact in the failure.

    Raises:
        AssertionError: It was not true in time.
    """
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {seconds:g} s: {what or fact}")
        time.sleep(_PAUSE_SECONDS)


def waits_for_lock(db: psycopg.Connection[Any], statement: str, *, seconds: float = 60.0) -> None:
    """
    Poll until somebody who executes *statement* in this database waits for a lock.

    Args:
        db: The database.
        statement: A part of it.
        seconds: The deadline.

    Raises:
        AssertionError: Nobody did in time.
    """
    waiting = (
        "select from pg_stat_activity where datname = current_database()"
        " and wait_event_type = 'Lock' and position(%s in query) > 0 and pid <> pg_backend_pid()"
    )
    eventually(
        lambda: db.execute(waiting, (statement,)).fetchall(),
        seconds=seconds,
        what=f"{statement} waits for a lock",
    )
