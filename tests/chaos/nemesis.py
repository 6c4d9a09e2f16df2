"""A fault with a name, that comes and goes."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.arena import Arena

STOP_SECONDS = 60.0


class Nemesis:
    """
    One kind of fault.

    Override what it needs: `start` and `stop` for a fault that lasts, `strike` for one that comes
    again and again, `missing` for what the machine must have.

    Every choice comes from `self.draw`, so that one seed gives one sequence of choices.

    Attributes:
        name: As the history and the table show it.
        every: Seconds between two strikes, at least and at most; None: it does not strike.
        exclusive: Not together with another exclusive one: it takes the server away.
    """

    name = "nothing"
    every: tuple[float, float] | None = None
    exclusive = False

    def __init__(self) -> None:
        self.draw = random.Random(0)  # noqa: S311  # the arena's seed replaces it
        self.strikes = 0

    @property
    def note(self) -> str:
        """What the table says of it."""
        return f"{self.strikes} times" if self.every else "on and off"

    def missing(self, arena: Arena) -> str | None:
        """Say why this machine cannot do it; None = it can. The reason is printed."""
        del arena
        return None

    def start(self, arena: Arena) -> None:
        """Begin."""

    def stop(self, arena: Arena) -> None:
        """Undo it: afterwards the arena is as before. Called even when `start` raised."""

    def strike(self, arena: Arena) -> None:
        """Do it once."""

    @contextmanager
    def on(self, arena: Arena) -> Iterator[None]:
        """Plague the arena until the block ends."""
        self.draw = random.Random(f"{arena.seed} {self.name} {self.strikes}")  # noqa: S311
        arena.record("nemesis", "invoke", name=self.name, exclusive=self.exclusive)
        over = threading.Event()
        thread = threading.Thread(target=self._strike_until, args=(arena, over), daemon=True)
        try:
            self.start(arena)
            if self.every is not None:
                thread.start()
            yield
        finally:
            over.set()
            if thread.ident is not None:
                thread.join(STOP_SECONDS)
            self.stop(arena)
            arena.record(
                "nemesis", "ok", name=self.name, exclusive=self.exclusive, strikes=self.strikes
            )

    def _strike_until(self, arena: Arena, over: threading.Event) -> None:
        assert self.every is not None
        while not over.wait(self.draw.uniform(*self.every)):
            try:
                self.strike(arena)
            except (psycopg.Error, OSError) as exc:
                # Another fault was quicker, for example the server is away just now.
                arena.record("strike", "fail", name=self.name, error=str(exc).partition("\n")[0])
            except Exception as exc:  # shown at the end: a broken test
                arena.record("strike", "fail", name=self.name, error=repr(exc))
                arena.errors.append(f"nemesis {self.name}: {exc!r}")
                return
            else:
                self.strikes += 1
