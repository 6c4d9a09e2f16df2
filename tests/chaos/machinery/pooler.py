"""PgBouncer in transaction mode, in front of a server of ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from pgqueue.embedded.account import server_account
from tests.chaos.server import SUPERUSER, free_port

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.chaos.server import Server

_START_SECONDS = 10.0
_SBIN = "/usr/sbin:/usr/local/sbin"  # Debian's place for it is on root's PATH only
# It lives as long as we do: when our end of the pipe closes, it is stopped.
_SCRIPT = '"$0" -q "$1" & trap "kill -TERM $!; wait" EXIT; read -r _'


def program() -> str | None:
    """Where it is."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


class Pooler:
    """
    One PgBouncer; every transaction may get another of its few sessions.

    Args:
        server: Behind it.
        directory: For its files; readable by the server's user.
        ignore_options: Whether it lets clients that bring `options` in, and drops them.
        size: Sessions with the server.
    """

    def __init__(
        self, server: Server, directory: Path, *, ignore_options: bool = True, size: int = 8
    ) -> None:
        self.port = free_port()
        self._server = server
        self._directory = directory / f"pooler-{self.port}"
        self._ignored = "extra_float_digits,options" if ignore_options else "extra_float_digits"
        self._size = size
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str | None:
        """Why this machine cannot do it; None = it can."""
        return None if program() else "not installed: pgbouncer (Debian: apt-get install pgbouncer)"

    @property
    def route(self) -> dict[str, str | int]:
        """Conninfo parameters that lead here."""
        return {"host": "127.0.0.1", "port": self.port}

    def start(self) -> None:
        """Start it and wait until it listens."""
        account = server_account()
        self._directory.mkdir(exist_ok=True)
        account.owns(self._directory)
        config = self._directory / "pgbouncer.ini"
        config.write_text(self._config(), encoding="ascii")
        found = program()
        assert found is not None
        with (self._directory / "pgbouncer.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, found, str(config)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                env=account.environment(),
                start_new_session=True,
                **account.spawn_args(),
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            if time.monotonic() > deadline:
                said = (self._directory / "pgbouncer.log").read_text(errors="replace")
                raise AssertionError(f"PgBouncer does not start: {said}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it: its clients lose their connections."""
        if self._process is not None:
            self._process.communicate(timeout=_START_SECONDS)
            self._process = None

    def restart(self) -> None:
        """Stop and start it, on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _config(self) -> str:
        behind = f"host={self._server.directory} port={self._server.port}"
        lines = [
            "[databases]",
            f"* = {behind}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = trust",
            f"auth_file = {self._directory / 'users'}",
            "pool_mode = transaction",
            f"default_pool_size = {self._size}",
            "max_client_conn = 500",
            f"ignore_startup_parameters = {self._ignored}",
            "so_reuseport = 0",
        ]
        users = self._directory / "users"
        names = (SUPERUSER, "chaos_worker", "chaos_producer", "chaos_operator")
        users.write_text("".join(f'"{name}" ""\n' for name in names), encoding="ascii")
        return "\n".join(lines) + "\n"

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
