"""A worker that never claims without floors: what commits late below them is never found.

caught as: late_wake_up
"""

from __future__ import annotations

from typing import Any

from pgqueue import calls
from pgqueue.worker.floors import Floors

_all: list[Floors] = []


def apply() -> None:
    """Patch this process."""
    create = Floors.__init__
    exchange = calls.exchange

    def remember(self: Floors, *args: Any) -> None:
        create(self, *args)
        _all.append(self)

    def with_floors(worker: int, **options: Any) -> Any:
        return exchange(worker, **{**options, "floors": _all[-1].array()})

    Floors.__init__ = remember  # type: ignore[method-assign, assignment]
    calls.exchange = with_floors
