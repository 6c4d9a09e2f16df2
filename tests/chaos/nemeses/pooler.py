"""A worker behind PgBouncer in transaction mode, which is restarted now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.machinery.pooler import Pooler
from tests.chaos.nemeses.server import dismiss
from tests.chaos.nemesis import Nemesis

if TYPE_CHECKING:
    from tests.chaos.arena import Arena, Child


class Pooled(Nemesis):
    """See the module."""

    name = "PgBouncer in between, restarted"
    every = (1.0, 3.0)

    def __init__(self) -> None:
        super().__init__()
        self._pooler: Pooler | None = None
        self._workers: list[Child] = []

    def missing(self, arena: Arena) -> str | None:
        """It needs PgBouncer."""
        del arena
        return Pooler.missing()

    def start(self, arena: Arena) -> None:
        """Start it, and a worker."""
        self._pooler = Pooler(arena.server, arena.directory)
        self._pooler.start()
        self._workers.append(arena.start_worker(route=self._pooler.route, pooler="yes"))

    def strike(self, arena: Arena) -> None:
        """Restart it."""
        del arena
        assert self._pooler is not None
        self._pooler.restart()

    def stop(self, arena: Arena) -> None:
        """The worker ends, and PgBouncer too."""
        del arena
        dismiss(self._workers)
        if self._pooler is not None:
            self._pooler.stop()
