"""
Where the database is, and how this library talks to it.

A DSN is libpq conninfo or a URI: the one given, else PGQUEUE_DSN, else libpq's PG* variables. What
neither says is filled in with the defaults below. No message here holds a DSN: it holds passwords.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Timeouts", "describe_dsn", "find_dsn", "full_dsn", "wants_pooler"]

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30.0
LOCK_SECONDS = 10.0
IDLE_IN_TRANSACTION_SECONDS = 60.0
# The application's own deadline lies above the server's: the server's answer says more.
CALL_GRACE_SECONDS = 5.0

# A dead peer is noticed within 60 s when idle (30 + 3 * 10), within 30 s with data under way:
# keepalives do not notice a drop while a query is unacknowledged, tcp_user_timeout does.
_DEFAULTS: Mapping[str, tuple[str, str | int]] = {
    "connect_timeout": ("PGCONNECT_TIMEOUT", CONNECT_SECONDS),
    "application_name": ("PGAPPNAME", "pgqueue"),
    "keepalives": ("", 1),
    "keepalives_idle": ("", 30),
    "keepalives_interval": ("", 10),
    "keepalives_count": ("", 3),
    "tcp_user_timeout": ("", 30_000),
}
# The server's side of the same: by default it keeps the session of a machine that vanished, with
# the queue's door, for two hours. Unix sockets ignore it.
_SERVER_SIDE = (
    "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=30000"
)
# Plans whose guess is high are compiled by default. That costs 0.1-1.5 s, and gains less: all of
# pgqueue.job_status, 284,000 jobs on 15, took 4.9 s compiled and 3.1 s as it is.
_PLANS = "-c jit=off"
# Claims and completions are written for READ COMMITTED, whatever the database's default is.
_ISOLATION = "-c default_transaction_isolation=read\\ committed"
_PLACES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """
    Limits in seconds for one connection; 0 means none.

    Attributes:
        statement: One statement, as the server counts.
        lock: Waiting for one lock.
        idle_in_transaction: A transaction in which nothing happens.
    """

    statement: float = STATEMENT_SECONDS
    lock: float = LOCK_SECONDS
    idle_in_transaction: float = IDLE_IN_TRANSACTION_SECONDS

    @property
    def call(self) -> float | None:
        """The application's deadline for one call; it also ends a call to a server that hangs."""
        return self.statement + CALL_GRACE_SECONDS if self.statement else None

    def options(self) -> str:
        """As libpq's options."""
        limits = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
        }
        return " ".join(f"-c {name}={round(limit * 1000)}" for name, limit in limits.items())


def find_dsn(dsn: str | None = None, *, environment: Mapping[str, str] | None = None) -> str:
    """
    The DSN to use; empty when libpq's variables say it all.

    Args:
        dsn: Given explicitly.
        environment: Instead of the process's.

    Raises:
        ConfigurationError: Nothing says where the database is.
    """
    environ = os.environ if environment is None else environment
    found = dsn or environ.get("PGQUEUE_DSN")
    if found:
        return found
    if any(environ.get(name) for name in _PLACES):
        return ""
    raise ConfigurationError(
        "no database is configured",
        hint="Set PGQUEUE_DSN, for example postgresql://user@host/database, or PGHOST and"
        " PGDATABASE; `pgqueue embedded start` starts a server on this machine.",
    )


def full_dsn(
    dsn: str,
    *,
    timeouts: Timeouts | None = None,
    application_name: str | None = None,
    pooler: bool = False,
    environment: Mapping[str, str] | None = None,
) -> str:
    """
    *dsn* with the library's defaults where neither it nor the environment says otherwise.

    Args:
        dsn: From `find_dsn`.
        timeouts: Instead of the defaults; what the DSN's own options say wins.
        application_name: What the server shows, unless the DSN names one.
        pooler: Leave options out: PgBouncer refuses a connection that brings them.
        environment: Instead of the process's.

    Raises:
        ConfigurationError: The DSN cannot be read.
    """
    environ = os.environ if environment is None else environment
    given = _parse(dsn)
    params: dict[str, str | int] = {}
    for name, (variable, default) in _DEFAULTS.items():
        if name not in given and not environ.get(variable):
            params[name] = default
    if application_name and "application_name" in params:
        params["application_name"] = application_name
    if not pooler:
        # In this order: of two settings of one name the server takes the last.
        said = given.get("options") or environ.get("PGOPTIONS")
        parts = ((timeouts or Timeouts()).options(), _SERVER_SIDE, _PLANS, said, _ISOLATION)
        params["options"] = " ".join(str(part) for part in parts if part)
    return make_conninfo(dsn, **params)


def describe_dsn(dsn: str) -> str:
    """`user@host:port/database` for messages and logs: nothing that is secret."""
    try:
        given = {name: str(value) for name, value in _parse(dsn).items()}
    except ConfigurationError:
        return "a DSN that cannot be read"
    host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "local socket"
    port = given.get("port") or os.environ.get("PGPORT")
    user = given.get("user") or os.environ.get("PGUSER")
    database = given.get("dbname") or os.environ.get("PGDATABASE")
    service = given.get("service")
    where = f"{f'{user}@' if user else ''}{host}{f':{port}' if port else ''}/{database or ''}"
    return f"{where} (service {service})" if service else where


def wants_pooler(environment: Mapping[str, str] | None = None) -> bool:
    """Whether PGQUEUE_POOLER says that a transaction pooler stands in between."""
    environ = os.environ if environment is None else environment
    return environ.get("PGQUEUE_POOLER", "").lower() in {"1", "true", "yes", "on"}


def _parse(dsn: str) -> dict[str, str | int | None]:
    try:
        return dict(conninfo_to_dict(dsn))
    except psycopg.ProgrammingError:
        # libpq's message quotes the part that it cannot read; that may be the password.
        raise ConfigurationError(
            "the DSN cannot be read",
            hint="Write postgresql://user:password@host:port/database, with special characters of"
            " the password percent-encoded, or host=... dbname=... user=...",
        ) from None
