"""A standby of a server of ours: taken from it, followed by it, promoted instead of it."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from tests.chaos.server import Server

if TYPE_CHECKING:
    from pathlib import Path

NAME = "standby"


class Standby:
    """
    One standby; the primary runs.

    Args:
        primary: Whose.
        directory: For its data; does not exist yet.

    Attributes:
        server: As a server like any other.
    """

    def __init__(self, primary: Server, directory: Path) -> None:
        self._primary = primary
        self.server = Server(primary.version, directory, settings=primary.settings)

    def start(self) -> None:
        """Copy the primary and follow it."""
        directory = self.server.directory
        directory.mkdir(parents=True)
        directory.chmod(0o755)
        self.server.account.owns(directory)
        source = f"host={self._primary.directory} port={self._primary.port} user=postgres"
        self._primary.run(
            "pg_basebackup",
            f"--pgdata={self.server.pgdata}",
            f"--dbname={source} application_name={NAME}",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--write-recovery-conf",
            "--no-sync",
        )
        self.server.start()

    def promote(self) -> None:
        """Make it the primary."""
        done = self.server.pg_ctl("promote")
        if done.returncode != 0:
            raise AssertionError(f"no promotion: {done.stderr}\n{self.server.tail()}")

    def require(self, *, synchronous: bool) -> None:
        """Have the primary's commits wait for the standby, or not."""
        name = NAME if synchronous else ""
        with self._primary.connect() as conn:
            conn.execute(f"alter system set synchronous_standby_names = '{name}'")
            conn.execute("select pg_reload_conf()")

    def in_step(self) -> bool:
        """Whether it streams, synchronously if that is required."""
        with self._primary.connect() as conn:
            rows = conn.execute(
                "select sync_state = 'sync' or current_setting('synchronous_standby_names') = ''"
                " from pg_stat_replication where application_name = %s and state = 'streaming'",
                (NAME,),
            ).fetchall()
        return rows == [(True,)]

    def hold_receiver(self) -> None:
        """Stop what receives WAL, as a network that is too slow does; ends with the primary."""
        with self.server.connect() as conn:
            for (pid,) in conn.execute("select pid from pg_stat_wal_receiver").fetchall():
                os.kill(pid, signal.SIGSTOP)
                self._held = pid

    def release_receiver(self) -> None:
        """Let it go on: it finds the primary gone."""
        with contextlib.suppress(ProcessLookupError, AttributeError):
            os.kill(self._held, signal.SIGCONT)

    def route(self) -> dict[str, str]:
        """Conninfo parameters that lead to whichever of the two is the primary."""
        both = (self._primary, self.server)
        return {
            "host": ",".join(str(server.directory) for server in both),
            "port": ",".join(str(server.port) for server in both),
            "target_session_attrs": "read-write",
        }
