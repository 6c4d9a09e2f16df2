"""
Connections that are safe to run jobs over: checked, with deadlines, with errors translated.

Every wait has an end. The server's statement_timeout ends a slow statement; keepalives and
tcp_user_timeout end a dead network; and the deadline of `BoundedConnection` ends a wait for a
server that hangs (stopped, paused, swapping), which nothing else notices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from pgqueue.calls.core import drive, drive_async, run, run_async
from pgqueue.calls.operator import schema_version, server_state
from pgqueue.dsn import Timeouts, describe_dsn, find_dsn, full_dsn, wants_pooler
from pgqueue.errors import (
    GRANT_HINT,
    ConfigurationError,
    DatabaseUnavailable,
    NotPrimary,
    PermissionDenied,
    PgqueueError,
    SchemaMismatch,
    from_psycopg,
)
from pgqueue.sqlfiles import manifest

if TYPE_CHECKING:
    from collections.abc import Generator

    from pgqueue.calls.core import Script
    from pgqueue.calls.operator import ServerState

__all__ = [
    "AsyncBoundedConnection",
    "BoundedConnection",
    "Endpoint",
    "check",
    "check_async",
    "connect",
    "connect_async",
    "endpoint",
]

_T = TypeVar("_T")

# After so many executions psycopg prepares a statement; None behind a pooler, which hands the
# session that has it prepared to somebody else.
_PREPARE_THRESHOLD = 5


class _NoAnswer(psycopg.OperationalError):
    """The deadline of a call passed."""


def _bounded(gen: Generator[Any, Any, _T], seconds: float | None) -> Generator[Any, Any, _T]:
    """Drive *gen*, and give up when it waits for longer than *seconds*."""
    if seconds is None:
        return (yield from gen)
    deadline = time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            # psycopg resumes a wait at least every 100 ms, with nothing ready if need be.
            ready = yield wanted
            if time.monotonic() > deadline:
                raise _NoAnswer(f"no answer from the server within {seconds:g} s")
            wanted = gen.send(ready)
    except StopIteration as done:
        result: _T = done.value
        return result


class BoundedConnection(psycopg.Connection[Any]):
    """
    A connection whose calls end.

    Attributes:
        call_seconds: The deadline of each wait; None = no deadline. After it the connection is
            closed: an answer that comes late would be taken for that of the next call.
        pooled: A transaction pooler stands in between.
        raw: It has the adapters of pgqueue.calls.claimed: 50 microseconds less per claim.
    """

    call_seconds: float | None = Timeouts().call
    pooled: bool = False
    raw: bool = False

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait as psycopg does, within the deadline."""
        try:
            return super().wait(_bounded(gen, self.call_seconds), *args, **kwargs)
        except _NoAnswer:
            self.pgconn.finish()
            raise


class AsyncBoundedConnection(psycopg.AsyncConnection[Any]):
    """As BoundedConnection, for asyncio."""

    call_seconds: float | None = Timeouts().call
    pooled: bool = False
    raw: bool = False

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait as psycopg does, within the deadline."""
        try:
            return await super().wait(_bounded(gen, self.call_seconds), *args, **kwargs)
        except _NoAnswer:
            self.pgconn.finish()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """
    Where and how to connect; holds secrets, do not log it.

    Attributes:
        conninfo: With all defaults filled in.
        label: The same for messages, without secrets.
        timeouts: What the connections' deadlines follow.
        pooler: A transaction pooler stands in between.
    """

    conninfo: str
    label: str
    timeouts: Timeouts
    pooler: bool

    def __repr__(self) -> str:
        return f"Endpoint({self.label})"

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for psycopg's connect, beside the conninfo; pools take them too."""
        return {
            "autocommit": True,
            "prepare_threshold": None if self.pooler else _PREPARE_THRESHOLD,
        }

    def connect(self, *, checked: bool = True) -> BoundedConnection:
        """
        Open an autocommit connection.

        Args:
            checked: Make sure that this is a primary with our schema.

        Raises:
            DatabaseUnavailable: No server there; worth another try.
            NotPrimary: The server is a standby or read-only.
            SchemaMismatch: The schema is missing or of another version.
            PermissionDenied: This role may not use the schema.
        """
        try:
            conn = BoundedConnection.connect(self.conninfo, **self.arguments)
        except psycopg.Error as exc:
            raise self.explained(exc) from exc
        try:
            self.prepare(conn)
            if checked:
                check(conn)
        except BaseException:
            conn.close()
            raise
        return conn

    async def connect_async(self, *, checked: bool = True) -> AsyncBoundedConnection:
        """As `connect`, for asyncio."""
        try:
            conn = await AsyncBoundedConnection.connect(self.conninfo, **self.arguments)
        except psycopg.Error as exc:
            raise self.explained(exc) from exc
        try:
            await self.prepare_async(conn)
            if checked:
                await check_async(conn)
        except BaseException:
            await conn.close()
            raise
        return conn

    def prepare(self, conn: BoundedConnection) -> None:
        """Set up a new connection; the `configure` of a pool."""
        conn.call_seconds = self.timeouts.call
        conn.pooled = self.pooler
        conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED

    async def prepare_async(self, conn: AsyncBoundedConnection) -> None:
        """As `prepare`, for asyncio."""
        conn.call_seconds = self.timeouts.call
        conn.pooled = self.pooler
        await conn.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)

    def explained(self, exc: psycopg.Error) -> Exception:
        """What a failed attempt to connect means."""
        text = str(exc).strip()
        if "unsupported startup parameter" in text.lower():
            return ConfigurationError(
                f"{self.label} is a connection pooler that refuses startup parameters",
                hint="Set PGQUEUE_POOLER=1 (or pooler=True), or name `options` in PgBouncer's"
                " ignore_startup_parameters.",
            )
        if "does not exist" in text or "authentication failed" in text:
            # A wrong name or password is no weather: waiting does not help.
            return ConfigurationError(
                f"cannot connect to {self.label}: {text}",
                hint="Check the database, the user and the password of the DSN (PGQUEUE_DSN).",
            )
        ours = from_psycopg(exc)
        if isinstance(ours, DatabaseUnavailable):
            return DatabaseUnavailable(f"cannot connect to {self.label}: {text}", hint=ours.hint)
        return ours or exc


def endpoint(
    dsn: str | None = None,
    *,
    application_name: str | None = None,
    timeouts: Timeouts | None = None,
    pooler: bool | None = None,
) -> Endpoint:
    """
    Read where and how to connect.

    Args:
        dsn: As in `find_dsn`.
        application_name: What the server shows, unless the DSN names one; "pgqueue" by default.
        timeouts: Instead of the defaults; what the DSN's own options say wins.
        pooler: A transaction pooler stands in between: no session settings, no prepared
            statements, every call a transaction. None asks PGQUEUE_POOLER.

    Raises:
        ConfigurationError: No DSN, or one that cannot be read.
    """
    found = find_dsn(dsn)
    limits = timeouts or Timeouts()
    pooled = wants_pooler() if pooler is None else pooler
    conninfo = full_dsn(found, timeouts=limits, application_name=application_name, pooler=pooled)
    return Endpoint(conninfo=conninfo, label=describe_dsn(found), timeouts=limits, pooler=pooled)


def connect(
    dsn: str | None = None,
    *,
    application_name: str | None = None,
    timeouts: Timeouts | None = None,
    pooler: bool | None = None,
    checked: bool = True,
) -> BoundedConnection:
    """Connect as `endpoint` and `Endpoint.connect` say, and raise what they raise."""
    where = endpoint(dsn, application_name=application_name, timeouts=timeouts, pooler=pooler)
    return where.connect(checked=checked)


async def connect_async(
    dsn: str | None = None,
    *,
    application_name: str | None = None,
    timeouts: Timeouts | None = None,
    pooler: bool | None = None,
    checked: bool = True,
) -> AsyncBoundedConnection:
    """As `connect`, for asyncio."""
    where = endpoint(dsn, application_name=application_name, timeouts=timeouts, pooler=pooler)
    return await where.connect_async(checked=checked)


def check(conn: psycopg.Connection[Any]) -> None:
    """
    Make sure that *conn* leads to a primary with the schema that this library speaks.

    Raises:
        NotPrimary: The server is a standby or read-only.
        SchemaMismatch: The schema is missing or of another version.
        PermissionDenied: This role may not use the schema.
    """
    drive(lambda call: run(conn, call), _checks())


async def check_async(conn: psycopg.AsyncConnection[Any]) -> None:
    """As `check`, for asyncio."""
    await drive_async(lambda call: run_async(conn, call), _checks())


def _checks() -> Script[None]:
    state: ServerState = yield server_state()
    if state.in_recovery or state.read_only:
        kind = "a standby" if state.in_recovery else "read-only"
        raise NotPrimary(
            f"the server is {kind}",
            hint="Point the DSN at the primary, or add target_session_attrs=read-write to it.",
        )
    wanted = manifest().version
    if not state.has_schema:
        raise SchemaMismatch(
            f"the schema pgqueue is not installed; this program needs version {wanted}",
            hint="Run `pgqueue migrate`, or psql -f sql/install.sql.",
        )
    if not state.may_use_schema:
        raise _denied(state.user)
    try:
        found: int = yield schema_version()
    except PermissionDenied:
        raise _denied(state.user) from None
    except SchemaMismatch:
        raise SchemaMismatch(
            f"the schema pgqueue has no version; this program needs version {wanted}",
            hint="It is damaged or not ours: `pgqueue doctor` says more.",
        ) from None
    if found != wanted:
        newer = "Install that version of the package pgqueue, or a later one."
        raise SchemaMismatch(
            f"the schema pgqueue has version {found}, this program needs version {wanted}",
            hint="Run `pgqueue migrate`." if found < wanted else newer,
        )


def _denied(user: str) -> PgqueueError:
    return PermissionDenied(
        f"the role {user} may not use the schema pgqueue",
        hint=GRANT_HINT,
    )
