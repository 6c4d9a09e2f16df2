"""What happens to the server as a whole: no free connection, a backend asleep, repacked tables."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import psycopg

from tests.chaos.nemesis import Nemesis

if TYPE_CHECKING:
    from tests.chaos.arena import Arena, Child

BACKENDS = "select pid from pg_stat_activity where usename = 'chaos_worker' order by pid"
TABLES = ("ready", "running", "scheduled", "finished", "workers")
STOP_SECONDS = 20.0
# What anybody may send; the worker's own words among them, and nonsense.
FORGED = (
    "ring *",
    "ring 1",
    "seat 1 1",
    "cancel 1",
    "cancel 99999999999999999999",
    "test x",
    "",
    "\\",
)


class Crowded(Nemesis):
    """max_connections is exhausted for a moment: nobody but a superuser gets in."""

    name = "no connection left"
    every = (1.0, 2.0)

    def strike(self, arena: Arena) -> None:
        """Open sessions until there is no room, and hold them."""
        with contextlib.ExitStack() as held:
            dsn = arena.dsn("chaos_producer", "crowd")
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    held.enter_context(psycopg.connect(dsn, autocommit=True))
            time.sleep(self.draw.uniform(0.5, 2.0))


class Asleep(Nemesis):
    """One backend is stopped, as a machine that swaps would: nothing tells its client."""

    name = "a backend stopped"
    every = (0.5, 1.5)
    exclusive = True

    def strike(self, arena: Arena) -> None:
        """Stop one of a worker's; it may hold locks."""
        with arena.db() as db:
            found = [row[0] for row in db.execute(BACKENDS)]
        if not found:
            return
        pid = self.draw.choice(found)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(self.draw.uniform(0.5, 3.0))
            finally:
                os.kill(pid, signal.SIGCONT)


class Repacked(Nemesis):
    """VACUUM FULL and REINDEX of one table after another, under load."""

    name = "tables repacked"
    every = (0.2, 1.0)

    def strike(self, arena: Arena) -> None:
        """Rewrite one."""
        table = f"pgqueue.{self.draw.choice(TABLES)}"
        with arena.db() as db:
            db.execute("set lock_timeout = '1s'")
            db.execute(self.draw.choice((f"vacuum full {table}", f"reindex table {table}")))


class Unvacuumed(Nemesis):
    """Autovacuum is off."""

    name = "autovacuum off"

    def start(self, arena: Arena) -> None:
        """Turn it off."""
        self._alter(arena, "alter system set autovacuum = off")

    def stop(self, arena: Arena) -> None:
        """Turn it on again."""
        self._alter(arena, "alter system reset autovacuum")

    @staticmethod
    def _alter(arena: Arena, statement: str) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            try:
                with arena.db() as db:
                    db.execute(statement)
                    db.execute("select pg_reload_conf()")
            except psycopg.OperationalError:
                # Another fault has the server away just now.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return


class Forged(Nemesis):
    """A role that may do nothing notifies all workers of all sorts of things, all the time."""

    name = "forged notifications"
    every = (0.002, 0.02)

    def __init__(self) -> None:
        super().__init__()
        self._db: psycopg.Connection[Any] | None = None

    def strike(self, arena: Arena) -> None:
        """Send some."""
        if self._db is None or self._db.closed:
            self._db = psycopg.connect(arena.dsn("chaos_producer", "forger"), autocommit=True)
        for _ in range(20):
            self._db.execute("select pg_notify('pgqueue', %s)", (self.draw.choice(FORGED),))

    def stop(self, arena: Arena) -> None:
        """No more."""
        del arena
        if self._db is not None:
            self._db.close()


class Impatient(Nemesis):
    """Workers whose statements and locks may take 1 to 50 ms, as if the server were overloaded."""

    name = "timeouts of 1 to 50 ms"
    every = (1.0, 3.0)

    def __init__(self) -> None:
        super().__init__()
        self._workers: list[Child] = []

    def strike(self, arena: Arena) -> None:
        """Start one; some are too impatient to get to work at all."""
        statement, lock = self.draw.randint(1, 50), self.draw.randint(1, 50)
        options = f"-c statement_timeout={statement} -c lock_timeout={lock}"
        self._workers.append(arena.start_worker(route={"options": options}))

    def stop(self, arena: Arena) -> None:
        """They end."""
        del arena
        dismiss(self._workers)


class Refused(Nemesis):
    """For a moment pg_hba.conf lets no worker in, and those inside are thrown out."""

    name = "workers refused"
    every = (1.5, 3.0)
    exclusive = True

    def strike(self, arena: Arena) -> None:
        """Refuse them for a second or two."""
        hba = arena.server.pgdata / "pg_hba.conf"
        usual = hba.read_bytes()
        try:
            refusing = b"local all chaos_worker reject\nhost all chaos_worker all reject\n"
            hba.write_bytes(refusing + usual)
            with arena.db() as db:
                db.execute("select pg_reload_conf()")
                db.execute(f"select pg_terminate_backend(pid) from ({BACKENDS}) b")
            time.sleep(self.draw.uniform(0.5, 2.0))
        finally:
            hba.write_bytes(usual)
            with arena.db() as db:
                db.execute("select pg_reload_conf()")


def dismiss(workers: list[Child]) -> None:
    """End these workers, kindly."""
    for worker in workers:
        worker.send(signal.SIGCONT)
        worker.send(signal.SIGTERM, group=False)
    for worker in workers:
        worker.ends(STOP_SECONDS)
    workers.clear()
