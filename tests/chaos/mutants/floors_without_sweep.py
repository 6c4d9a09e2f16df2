"""A worker that never claims without floors: what commits late below them is never found.

caught as: late_wake_up
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgqueue import calls
from pgqueue.worker.floors import Floors

if TYPE_CHECKING:
    from collections.abc import Callable

_all: list[Floors] = []


def apply() -> None:
    """Patch this process."""
    create = Floors.__init__

    def remember(self: Floors, *args: Any) -> None:
        create(self, *args)
        _all.append(self)

    def with_floors(call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda worker, **options: call(worker, **{**options, "floors": _all[-1].array()})

    Floors.__init__ = remember  # type: ignore[method-assign, assignment]
    calls.claim = with_floors(calls.claim)
    calls.exchange = with_floors(calls.exchange)
