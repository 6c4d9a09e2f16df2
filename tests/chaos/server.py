"""A PostgreSQL server of our own: started, killed, stopped and restarted at will."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from pgqueue.embedded import find_binaries
from pgqueue.embedded.account import server_account
from pgqueue.embedded.cache import readable_by
from tests.support.psql import INSTALL_SQL, psql

if TYPE_CHECKING:
    from collections.abc import Mapping

START_SECONDS = 60
COMMAND_SECONDS = 90.0
SUPERUSER = "postgres"
DEFAULTS: dict[str, str | int] = {
    "max_connections": 150,
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "5min",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %a ",
    "deadlock_timeout": "200ms",
    "timezone": "UTC",
    "wal_level": "replica",
}


class Server:
    """
    One cluster, run as an unprivileged user; listens on a socket in its directory and on TCP.

    Args:
        version: Major version.
        directory: Its own; created here, readable by the server's user.
        settings: Server settings over `DEFAULTS`.
        environment: Of the postmaster, for example LD_PRELOAD.
        listen: TCP addresses; each may be connected to without a password from its network.
        wrapper: Put before pg_ctl, for example `["ip", "netns", "exec", "x"]`.
    """

    def __init__(
        self,
        version: int,
        directory: Path,
        *,
        settings: Mapping[str, str | int] | None = None,
        environment: Mapping[str, str] | None = None,
        listen: str = "127.0.0.1",
        wrapper: tuple[str, ...] = (),
    ) -> None:
        self.version = version
        self.directory = directory
        self.pgdata = directory / "data"
        self.log = directory / "server.log"
        self.account = server_account()
        self.binaries = readable_by(self.account, find_binaries(version))
        self.port = free_port()
        self.settings: dict[str, str | int] = {**DEFAULTS, **(settings or {})}
        self.environment = dict(environment or {})
        self.listen = listen
        self.wrapper = wrapper
        self._guard: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Run initdb; `start` does it where nobody has."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self.account.owns(self.directory)
        self.run(
            "initdb",
            f"--pgdata={self.pgdata}",
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
            "--no-sync",
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        if not self.pgdata.exists():
            self.create()
        if self._guard is None:
            self._guard = self._watch()
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        lines += [
            f"listen_addresses = '{self.listen}'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self.directory}'",
        ]
        with (self.pgdata / "postgresql.auto.conf").open("r", encoding="utf-8") as written:
            # What a test has ALTERed stays: it comes after our file.
            altered = written.read()
        conf = self.directory / "chaos.conf"
        conf.write_text(
            "\n".join([f"include '{self.pgdata}/postgresql.conf'", *lines]) + "\n" + altered,
            encoding="utf-8",
        )
        conf.chmod(0o644)
        deadline = time.monotonic() + START_SECONDS
        while True:
            done = self.pg_ctl("start", "-l", str(self.log), "-o", f"-c config_file={conf}")
            if done.returncode == 0:
                return
            # After a kill the children of the old postmaster need a moment to notice.
            if "pre-existing shared memory" not in self.tail() or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL does not start: {done.stderr}\n{self.tail()}")
            time.sleep(0.1)

    def stop(self, mode: str = "immediate") -> None:
        """
        Stop it and wait until it has stopped.

        Args:
            mode: smart, fast or immediate.
        """
        done = self.pg_ctl("stop", "-m", mode)
        if done.returncode != 0 and self.pid is not None:
            raise AssertionError(f"PostgreSQL does not stop: {done.stderr}\n{self.tail()}")

    def restart(self, mode: str = "immediate") -> None:
        """Stop and start it; on the same port and socket."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """Kill -9 of the postmaster; its children notice by themselves."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Stop it for good."""
        if self.pid is not None:
            self.stop("immediate")
        if self._guard is not None:
            with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
                self._guard.communicate(b"done\n", timeout=10)
            self._guard = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None = it does not run."""
        try:
            pid = int((self.pgdata / "postmaster.pid").read_text().split("\n")[0])
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except (OSError, ValueError):
            return None
        return None if state[0] == "Z" else pid

    def dsn(self, dbname: str = "postgres", *, tcp: bool = False, **more: str | int) -> str:
        """
        Conninfo.

        Args:
            dbname: The database.
            tcp: Over TCP instead of the Unix socket.
            more: Other parameters, for example `user`.
        """
        host = self.listen.partition(",")[0] if tcp else str(self.directory)
        known: dict[str, Any] = {
            "host": host,
            "port": self.port,
            "user": SUPERUSER,
            "dbname": dbname,
            "connect_timeout": 10,
        }
        return make_conninfo(**{**known, **more})

    def connect(self, dbname: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
        """Open an autocommit connection as the superuser; the caller closes it."""
        return psycopg.connect(self.dsn(dbname, **more), autocommit=True)

    def install(self, dbname: str) -> None:
        """Create a database with the schema."""
        with self.connect() as conn:
            conn.execute(f"create database {dbname}")
        psql(self.dsn(dbname), file=INSTALL_SQL, seconds=120)

    def pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pg_ctl on this cluster, waiting for the result; does not raise."""
        where = ("-D", str(self.pgdata), "-s", "-w", "-t", str(START_SECONDS))
        return self._run("pg_ctl", *arguments, *where)

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of this version as the server's user, and return what it printed."""
        done = self._run(program, *arguments)
        if done.returncode != 0:
            raise AssertionError(f"{program}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def tail(self, lines: int = 20) -> str:
        """The end of the server's log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError as exc:
            return str(exc)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.wrapper, str(self.binaries.program(program)), *arguments],
            cwd="/",
            env={**self.account.environment(), **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
            **self.account.spawn_args(),
        )

    def _watch(self) -> subprocess.Popen[bytes]:
        """Start a process that stops the server when this one dies without doing so."""
        script = 'read -r said || "$1" stop -s -w -t 30 -m immediate -D "$2"'
        program = str(self.binaries.program("pg_ctl"))
        return subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", program, str(self.pgdata)],
            cwd="/",
            env=self.account.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self.account.spawn_args(),
        )


def free_port() -> int:
    """A TCP port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
