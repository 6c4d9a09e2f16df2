"""The server that the tests use: one that is named by the environment, or an embedded one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgqueue.embedded import DEFAULT_VERSION, EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_SECONDS = 20
_FROM_ENVIRONMENT = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")
_MEMORY = Path("/dev/shm")  # noqa: S108  # as a parent for mkdtemp
_MEMORY_BYTES = 1_500 * 2**20  # of one server: 256 MB of WAL, the largest database of a test 400 MB
_SETTINGS: dict[str, int | str] = {
    "max_connections": 200,
    "max_prepared_transactions": 10,
    "wal_level": "logical",
    "deadlock_timeout": "200ms",  # a deadlock in a race test shows soon
    "log_min_messages": "warning",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    A server with the right to create databases.

    The attributes are those that pytest-postgresql reads from a fixture named in `depends_on`.
    """

    host: str
    port: int
    user: str
    password: str | None
    options: str
    maintenance_dbname: str
    template_dbname: str | None
    version: int  # 18
    server: EmbeddedServer | None  # None: not ours, leave it alone

    def dsn(self, dbname: str, **more: str | int) -> str:
        """
        Conninfo of a database.

        Args:
            dbname: Its name.
            more: Other connection parameters, for example `user`.
        """
        known: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "options": self.options or None,
            "dbname": dbname,
        }
        return make_conninfo(**{**known, **more})


def named_server() -> str | None:
    """Conninfo of the server that the environment names; None if it names none."""
    for variable in ("PGQUEUE_TEST_DSN", "PGQUEUE_DSN"):
        if os.environ.get(variable):
            return os.environ[variable]
    return "" if any(os.environ.get(name) for name in _FROM_ENVIRONMENT) else None


def wanted_version() -> int:
    """The major version that `make test PG=...` asks for."""
    return int(os.environ.get("PG") or DEFAULT_VERSION)


def open_cluster() -> Iterator[Cluster]:
    """Yield the cluster; an embedded one is stopped and removed afterwards."""
    named = named_server()
    if named is not None:
        yield describe(named, server=None)
        return
    parent = memory_dir()
    settings = _SETTINGS if parent is None else {**_SETTINGS, "max_wal_size": "256MB"}
    with EmbeddedServer(
        version=wanted_version(), durable=False, settings=settings, parent=parent
    ) as server:
        yield describe(server.dsn(), server=server)


def memory_dir() -> Path | None:
    """
    A file system in memory with room for the servers of all test processes; None if there is none.

    A database is 500 files. For each, ext4 looks for a number that was not freed in the last
    seconds: CREATE DATABASE among others' DROP takes 0.2-0.5 s of CPU there, 0.05 s in memory.
    """
    needed = _MEMORY_BYTES * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT") or 1)
    try:
        mounts = Path("/proc/mounts").read_text(encoding="ascii", errors="replace")
        memory = Path("/proc/meminfo").read_text(encoding="ascii")
        found = os.statvfs(_MEMORY)
    except OSError:  # not Linux
        return None
    available = re.search(r"^MemAvailable: +(\d+) kB", memory, re.MULTILINE)
    if f"tmpfs {_MEMORY} tmpfs " not in mounts or available is None:
        return None
    free = min(found.f_bavail * found.f_frsize, int(available[1]) * 1024 // 2)
    return _MEMORY if free >= needed and os.access(_MEMORY, os.W_OK) else None


def describe(dsn: str, *, server: EmbeddedServer | None) -> Cluster:
    """
    Connect once and note where that led.

    Args:
        dsn: Conninfo; may be empty if the environment has the rest.
        server: The embedded server, if it is one.
    """
    with psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS) as conn:
        return Cluster(
            host=conn.info.host,
            port=conn.info.port,
            user=conn.info.user,
            password=conn.info.password or None,
            options=str(conninfo_to_dict(dsn).get("options") or ""),
            maintenance_dbname=conn.info.dbname,
            template_dbname=None,
            version=conn.info.server_version // 10_000,
            server=server,
        )


def tls_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """
    The TLS parameters of a named server's conninfo as libpq's variables.

    pytest-postgresql passes host, port, user and password on, and nothing else.

    Args:
        environment: Variables that are set win.
    """
    named = conninfo_to_dict(named_server() or "")
    wanted = ("sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding")
    found = {f"PG{key.upper()}".replace("_", ""): named[key] for key in wanted if key in named}
    return {name: str(value) for name, value in found.items() if name not in environment}
