"""Create, start and stop an embedded server."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from psycopg.conninfo import make_conninfo

from pgqueue.embedded.account import run, server_account
from pgqueue.embedded.binaries import find_binaries
from pgqueue.embedded.cache import readable_by
from pgqueue.embedded.cluster import create_cluster, explain, start_command, write_settings
from pgqueue.embedded.errors import EmbeddedError
from pgqueue.embedded.guard import Guard
from pgqueue.embedded.home import SOCKET_NAME, Home
from pgqueue.embedded.postmaster import disown_pid_file, postmaster_of, read_pid_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from pgqueue.embedded.binaries import Binaries
    from pgqueue.embedded.cluster import Setting
    from pgqueue.embedded.postmaster import Postmaster

DEFAULT_VERSION = 18
SUPERUSER = "postgres"
PORT = 5432  # names the socket in its own directory; no TCP port is opened

_START_SECONDS = 120
_STOP_SECONDS = 60
_LOCK_SECONDS = 240.0  # initdb and a start of another process
_PAUSE_SECONDS = 0.1

_log = logging.getLogger("pgqueue.embedded")


class EmbeddedServer:
    """
    One PostgreSQL server on a Unix socket.

    Without a data directory the server is temporary: stopped and removed by `stop`, and also when
    this process dies without calling it. With one it is kept: it outlives this process, and any
    process that names the same directory can use and stop it.

    Args:
        data_dir: An empty directory or one of an earlier start; None for a temporary server.
        version: The major version.
        durable: False turns fsync off: fast, and a crash of the machine loses the data.
        settings: Server settings, for example `{"max_connections": 200}`.
        parent: Where a temporary server's directory is made; None for the place of temporary files.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        version: int = DEFAULT_VERSION,
        durable: bool = True,
        settings: Mapping[str, Setting] | None = None,
        parent: Path | None = None,
    ) -> None:
        self.version = version
        self.durable = durable
        self.settings = dict(settings or {})
        self.temporary = data_dir is None
        self._path = None if data_dir is None else Path(data_dir).absolute()
        self._parent = parent
        self._home: Home | None = None
        self._guard: Guard | None = None

    @property
    def binaries(self) -> Binaries:
        """The installation that is used, for clients such as psql."""
        return find_binaries(self.version)

    @property
    def bin_dir(self) -> Path:
        """Where psql, pg_dump and pgbench are."""
        return self.binaries.bin_dir

    @property
    def psql(self) -> Path:
        """The matching psql."""
        return self.binaries.program("psql")

    @property
    def data_dir(self) -> Path:
        """
        The server's directory.

        Raises:
            EmbeddedError: A temporary server that is not started has none.
        """
        path = self._path if self._home is None else self._home.path
        if path is None:
            raise EmbeddedError(
                "a temporary server has a directory only while it runs: call start()"
            )
        return path

    @property
    def running(self) -> bool:
        """Whether the server accepts connections, whichever process started it."""
        found = self._postmaster()
        return found is not None and found.ready

    @property
    def pid(self) -> int | None:
        """The server's process id, None if it does not run."""
        found = self._postmaster()
        return None if found is None else found.pid

    @property
    def socket_dir(self) -> Path:
        """
        The directory of the socket, libpq's `host`.

        Raises:
            EmbeddedError: The server does not run.
        """
        found = self._postmaster()
        if found is None or found.socket_dir is None:
            where = "" if self._path is None else f" in {self._path}"
            raise EmbeddedError(f"the embedded server{where} does not run; start it first")
        return found.socket_dir

    def dsn(self, dbname: str = "postgres", *, user: str = SUPERUSER) -> str:
        """
        The conninfo string of one database.

        Args:
            dbname: The database.
            user: A login role; the socket asks for no password.

        Raises:
            EmbeddedError: The server does not run.
        """
        return make_conninfo(host=str(self.socket_dir), port=PORT, user=user, dbname=dbname)

    def start(self) -> Self:
        """
        Start the server, after creating it if the directory is new. Does nothing if it runs.

        Raises:
            EmbeddedError: It does not start; the message holds the end of its log.
        """
        if self._home is not None and self.running:
            return self
        account = server_account(None if self._path is None else self._path / "pgdata")
        binaries = readable_by(account, self.binaries)
        if self._path is None:
            self._home = home = Home.temporary(account, self._parent)
            self._guard = Guard(home, _stop_command(binaries, home, "immediate"))
        else:
            self._home = home = Home(path=self._path, account=account)
            home.prepare()
        try:
            with home.locked(_LOCK_SECONDS):
                self._start_locked(home, binaries)
        except BaseException:
            if self.temporary:
                self.stop()
            raise
        return self

    def stop(self) -> None:
        """
        Stop the server; a temporary one is removed. Does nothing if it does not run.

        Raises:
            EmbeddedError: It does not stop.
        """
        home = self._home
        if home is None:
            if self._path is None or not (self._path / "pgdata").is_dir():
                return
            home = Home(path=self._path, account=server_account(self._path / "pgdata"))
        with home.locked(_LOCK_SECONDS):
            _stop_locked(
                home, self.binaries, ["immediate"] if self.temporary else ["fast", "immediate"]
            )
        self._home = None
        if self.temporary:
            shutil.rmtree(home.path, ignore_errors=True)
            if self._guard is not None:
                self._guard.dismiss()
                self._guard = None

    def _postmaster(self) -> Postmaster | None:
        path = self._path if self._home is None else self._home.path
        return None if path is None else postmaster_of(path / "pgdata")

    def _start_locked(self, home: Home, binaries: Binaries) -> None:
        began = time.monotonic()
        if postmaster_of(home.pgdata) is None:
            create_cluster(home, binaries, durable=self.durable)
            _forget_dead_server(home)
            write_settings(home, binaries, home.socket_dir(), self._all_settings())
            _start(home, binaries)
        found = _wait_until_ready(home)
        _log.info(
            "server started version=%s pid=%d data_dir=%s seconds=%.1f",
            binaries.version,
            found.pid,
            home.path,
            time.monotonic() - began,
        )

    def _all_settings(self) -> dict[str, Setting]:
        fixed: dict[str, Setting] = {"listen_addresses": "", "port": PORT}
        return {"fsync": self.durable, "full_page_writes": self.durable} | self.settings | fixed

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        kind = "temporary" if self._path is None else str(self._path)
        return f"<EmbeddedServer {self.version} {kind}>"


def _start(home: Home, binaries: Binaries) -> None:
    command = start_command(home, binaries, _START_SECONDS)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        seen = home.log.stat().st_size if home.log.exists() else 0
        home.owned_file(home.log)
        done = run(command, home.account, _START_SECONDS + 15)
        if done.returncode == 0:
            return
        tail = explain(home, seen)
        # After kill -9 of the postmaster its children need a moment to notice.
        leftovers = "pre-existing shared memory block" in tail
        if not leftovers or time.monotonic() > deadline:
            said = (done.stderr + done.stdout).strip()
            raise EmbeddedError(
                f"PostgreSQL {binaries.version} did not start in {home.path}: {said}\n{tail}"
            )
        time.sleep(_PAUSE_SECONDS)


def _wait_until_ready(home: Home) -> Postmaster:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        found = postmaster_of(home.pgdata)
        if found is None:
            break
        if found.ready:
            return found
        time.sleep(_PAUSE_SECONDS)
    raise EmbeddedError(f"the server in {home.path} is not ready\n{explain(home, 0)}")


def _forget_dead_server(home: Home) -> None:
    dead = read_pid_file(home.pgdata)
    if dead is None:
        return
    home.forget_socket_dir(dead.socket_dir)
    for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
        (home.path / "run" / name).unlink(missing_ok=True)
    disown_pid_file(home.pgdata)


def _stop_command(binaries: Binaries, home: Home, mode: str) -> list[str]:
    program = str(binaries.program("pg_ctl"))
    return [
        program,
        "stop",
        "-s",
        "-w",
        "-t",
        str(_STOP_SECONDS),
        "-m",
        mode,
        "-D",
        str(home.pgdata),
    ]


def _stop_locked(home: Home, binaries: Binaries, modes: list[str]) -> None:
    found = postmaster_of(home.pgdata)
    if found is None:
        return
    usable = readable_by(home.account, binaries)
    said: list[str] = []
    for mode in modes:
        try:
            done = run(_stop_command(usable, home, mode), home.account, _STOP_SECONDS + 15)
        except EmbeddedError as error:
            said.append(str(error))
        else:
            said.append((done.stderr + done.stdout).strip())
        if postmaster_of(home.pgdata) is None:
            home.forget_socket_dir(found.socket_dir)
            _log.info("server stopped pid=%d data_dir=%s mode=%s", found.pid, home.path, mode)
            return
    raise EmbeddedError(
        f"the server in {home.path} (pid {found.pid}) does not stop: {' '.join(said)}\n"
        f"{explain(home, 0)}"
    )
