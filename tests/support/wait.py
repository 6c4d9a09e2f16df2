"""Wait for a fact, with a deadline. For what sends no signal that a test could wait on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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
