"""What happens to connections: terminated, killed with the whole server, cut at COMMIT."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.chaos.machinery.proxy import Cut
from tests.chaos.nemesis import Nemesis

if TYPE_CHECKING:
    from tests.chaos.arena import Arena
    from tests.chaos.machinery.proxy import Moment

# Whose connection it is shows in its last statement.
KINDS = {
    "claim": r"pgqueue\.(claim|exchange)\(",
    "doorbell": r"pgqueue\.rest\(",
    "control": r"pgqueue\.heartbeat\(",
    "handler": r"chaos\.ledger",
    "any": "",
}
FIND = """
select pid from pg_stat_activity
where usename = 'chaos_worker' and query ~* %s
order by pid
"""
MOMENTS: tuple[Moment, ...] = ("before", "during", "after", "first byte")
STATEMENTS = (
    b"commit",
    b"commit",
    b"select * from pgqueue.exchange",
    b"select * from pgqueue.claim",
    b"select * from pgqueue.rest",
)


class Terminate(Nemesis):
    """pg_terminate_backend of claim, doorbell, control and handler connections."""

    name = "backends terminated"
    every = (0.1, 0.4)

    def strike(self, arena: Arena) -> None:
        """Terminate one."""
        with arena.db() as db:
            kind = self.draw.choice(sorted(KINDS))
            found = [row[0] for row in db.execute(FIND, (KINDS[kind],))]
            if found:
                db.execute("select pg_terminate_backend(%s)", (self.draw.choice(found),))


class Restart(Nemesis):
    """The server is stopped at once, in the middle of everything, and started again."""

    name = "server stopped and started"
    every = (1.0, 4.0)
    exclusive = True

    def strike(self, arena: Arena) -> None:
        """Once."""
        arena.server.restart("immediate")

    def stop(self, arena: Arena) -> None:
        """It runs."""
        if arena.server.pid is None:
            arena.server.start()


class BackendKilled(Nemesis):
    """kill -9 of one backend: PostgreSQL throws everybody out and recovers."""

    name = "a backend killed -9"
    every = (2.0, 4.0)
    exclusive = True

    def strike(self, arena: Arena) -> None:
        """Kill one of a worker's."""
        with arena.db() as db:
            found = [row[0] for row in db.execute(FIND, ("%",))]
        if found:
            os.kill(self.draw.choice(found), signal.SIGKILL)


class Cuts(Nemesis):
    """The reply to COMMIT, to a claim or to the doorbell is cut by the proxy."""

    name = "replies cut"
    every = (0.05, 0.2)

    def missing(self, arena: Arena) -> str | None:
        """It needs the arena's proxy."""
        return None if arena.proxy is not None else "this run has no proxy"

    def strike(self, arena: Arena) -> None:
        """The next such statement loses its connection."""
        assert arena.proxy is not None
        arena.proxy.cut(Cut(self.draw.choice(MOMENTS), self.draw.choice(STATEMENTS)))

    def stop(self, arena: Arena) -> None:
        """Cut no more."""
        if arena.proxy is not None:
            arena.proxy.forget_cuts()


class Resets(Nemesis):
    """Connections through the proxy are reset, a third at a time."""

    name = "connections reset"
    every = (0.3, 1.0)

    def missing(self, arena: Arena) -> str | None:
        """It needs the arena's proxy."""
        return None if arena.proxy is not None else "this run has no proxy"

    def strike(self, arena: Arena) -> None:
        """Reset some."""
        assert arena.proxy is not None
        arena.proxy.reset(share=0.3)
