"""What happens to statements: cancelled, held up by locks, watched by an old snapshot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.chaos.nemesis import Nemesis

if TYPE_CHECKING:
    import psycopg

    from tests.chaos.arena import Arena

TABLES = ("jobs", "ready", "running", "scheduled", "finished", "workers")
CANCEL = """
select pg_cancel_backend(pid) from pg_stat_activity
where usename in ('chaos_worker', 'chaos_producer') and state <> 'idle' and pid <> pg_backend_pid()
"""


class Cancel(Nemesis):
    """Whatever runs just now is cancelled (57014), as a statement_timeout would."""

    name = "statements cancelled"
    every = (0.02, 0.2)

    def strike(self, arena: Arena) -> None:
        """Claims, reports, handlers' statements, inserts."""
        with arena.db() as db:
            db.execute(CANCEL)


class Locked(Nemesis):
    """ACCESS EXCLUSIVE on one table for a moment, as DDL would take it."""

    name = "tables locked"
    every = (0.3, 1.0)

    def strike(self, arena: Arena) -> None:
        """Hold it for up to a second."""
        with arena.db() as db, db.transaction():
            db.execute("set local lock_timeout = '2s'")
            db.execute(f"lock table pgqueue.{self.draw.choice(TABLES)} in access exclusive mode")
            time.sleep(self.draw.uniform(0.05, 1.0))


class Snapshot(Nemesis):
    """A REPEATABLE READ transaction stays open: no dead row can be removed."""

    name = "an old snapshot held"

    def __init__(self) -> None:
        super().__init__()
        self._db: psycopg.Connection[Any] | None = None

    def start(self, arena: Arena) -> None:
        """Open it."""
        self._db = arena.db()
        self._db.execute("begin isolation level repeatable read")
        self._db.execute("select count(*) from pgqueue.ready")

    def stop(self, arena: Arena) -> None:
        """Let go."""
        del arena
        if self._db is not None:
            self._db.close()
