"""What happens to the line: it goes dead without a word, or is slow, narrow and torn to pieces."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.chaos.machinery.namespace import Namespace
from tests.chaos.machinery.proxy import Faults, Proxy
from tests.chaos.nemeses.server import dismiss
from tests.chaos.nemesis import Nemesis

if TYPE_CHECKING:
    from tests.chaos.arena import Arena, Child
    from tests.chaos.machinery.proxy import Direction

WORKERS = 2
WAYS: tuple[Direction, ...] = ("up", "down", "both")
TOXICS = (
    Faults(latency_seconds=0.1, jitter_seconds=0.2),
    Faults(slice_bytes=1),
    Faults(bytes_per_second=8_000),
    Faults(latency_seconds=0.02, slice_bytes=7, bytes_per_second=64_000),
)


class Unplugged(Nemesis):
    """Workers in a network of their own whose cable is pulled, and plugged in again."""

    name = "network cable pulled"
    every = (0.5, 2.0)

    def __init__(self) -> None:
        super().__init__()
        self._opened = ExitStack()
        self._space = Namespace()
        self._workers: list[Child] = []

    def missing(self, arena: Arena) -> str | None:
        """It needs root."""
        del arena
        return Namespace.missing()

    def start(self, arena: Arena) -> None:
        """Make the network, and workers in it."""
        self._opened.enter_context(self._space)
        address = self._space.address
        proxy = self._opened.enter_context(Proxy(arena.server.dsn(), host=address))
        way: dict[str, str | int] = {"host": address, "port": proxy.port, "sslmode": "disable"}
        for _ in range(WORKERS):
            self._workers.append(arena.start_worker(route=way, wrapper=self._space.wrapper))

    def strike(self, arena: Arena) -> None:
        """Pull it for up to three leases."""
        del arena
        with self._space.black_hole():
            time.sleep(self.draw.uniform(0.5, 6.0))

    def stop(self, arena: Arena) -> None:
        """The workers end, and the network with them."""
        del arena
        dismiss(self._workers)
        self._opened.close()


class BlackHole(Nemesis):
    """What is sent through the proxy vanishes, one way or both, on lines new and old."""

    name = "black holes"
    every = (1.0, 2.0)

    def missing(self, arena: Arena) -> str | None:
        """It needs the arena's proxy."""
        return None if arena.proxy is not None else "this run has no proxy"

    def strike(self, arena: Arena) -> None:
        """For up to two leases."""
        assert arena.proxy is not None
        arena.proxy.faults = Faults(black_hole=self.draw.choice(WAYS))
        try:
            time.sleep(self.draw.uniform(0.5, 4.0))
        finally:
            arena.proxy.faults = Faults()


class Lame(Nemesis):
    """The line through the proxy is slow, narrow, or delivers one byte at a time."""

    name = "a slow and narrow line"
    every = (0.2, 0.5)

    def missing(self, arena: Arena) -> str | None:
        """It needs the arena's proxy."""
        return None if arena.proxy is not None else "this run has no proxy"

    def strike(self, arena: Arena) -> None:
        """For a second or two."""
        assert arena.proxy is not None
        arena.proxy.faults = self.draw.choice(TOXICS)
        try:
            time.sleep(self.draw.uniform(0.5, 2.0))
        finally:
            arena.proxy.faults = Faults()
