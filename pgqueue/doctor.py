"""Look at everything that pgqueue rests on, and say what to do about what is not well."""

from __future__ import annotations

import datetime as dt
import secrets
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue import calls
from pgqueue.calls import Call, run
from pgqueue.connection import BoundedConnection, Endpoint, check, endpoint
from pgqueue.dsn import Timeouts
from pgqueue.errors import ConfigurationError, PgqueueError
from pgqueue.health import Finding, Status, findings_of_view
from pgqueue.sqlfiles import query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgqueue.calls.core import Row

__all__ = ["doctor"]

# Workers and the database count leases on the server's clock alone; run_at comes from producers'.
SKEW_SECONDS_MAX = 5.0
VERIFY_SECONDS = 600.0
_NOTIFY_SECONDS = 3.0
_SHOWN_MAX = 5


def doctor(dsn: str | None = None, *, verify: bool = False) -> list[Finding]:
    """
    Examine the server, the schema and the queue. Changes nothing.

    Args:
        dsn: As in `find_dsn`.
        verify: Also run pgqueue.verify(), which reads every job.

    Raises:
        ConfigurationError: No DSN, or one that cannot be read.
    """
    # As behind a pooler: the session then shows the server's own settings, not ours.
    where = endpoint(
        dsn,
        application_name="pgqueue doctor",
        timeouts=Timeouts(statement=VERIFY_SECONDS if verify else 30.0),
        pooler=True,
    )
    began = time.monotonic()
    try:
        conn = where.connect(checked=False)
    except (PgqueueError, psycopg.Error) as exc:
        if isinstance(exc, ConfigurationError) and "cannot be read" in exc.message:
            raise
        return [_failed("server reachable", exc)]
    taken = (time.monotonic() - began) * 1000
    with conn:
        return [
            Finding("server reachable", "ok", f"{where.label} in {taken:.0f} ms"),
            *_server(conn, where),
            *_schema(conn, verify=verify),
        ]


def _server(conn: BoundedConnection, where: Endpoint) -> Iterator[Finding]:
    yield from _guarded("server version", lambda: _version(conn))
    yield from _guarded("clocks", lambda: _clocks(conn))
    yield from _guarded("notifications", lambda: _notifications(conn, where))


def _schema(conn: BoundedConnection, *, verify: bool) -> Iterator[Finding]:
    try:
        check(conn)
    except PgqueueError as exc:
        yield _failed("primary with the right schema", exc)
        return
    version = run(conn, calls.schema_version())
    yield Finding("primary with the right schema", "ok", f"version {version}")
    yield from _guarded("schema unchanged since its installation", lambda: _drift(conn))
    yield from _guarded(
        "server", lambda: run(conn, Call(query("doctor"), (), _findings, by_name=True))
    )
    yield from _guarded("health", lambda: run(conn, findings_of_view()))
    if verify:
        yield from _guarded("invariants", lambda: _verify(conn))


def _guarded(name: str, examine: Callable[[], list[Finding]]) -> list[Finding]:
    # One check that fails must not hide the others.
    try:
        return examine()
    except PgqueueError as exc:
        status: Status = "unknown" if exc.code == "permission_denied" else "fail"
        return [Finding(name, status, exc.message, exc.hint)]
    except psycopg.Error as exc:
        return [_failed(name, exc)]


def _failed(name: str, exc: Exception) -> Finding:
    if isinstance(exc, PgqueueError):
        return Finding(name, "fail", exc.message, exc.hint)
    return Finding(name, "fail", str(exc).strip() or type(exc).__name__)


def _version(conn: BoundedConnection) -> list[Finding]:
    state = run(conn, calls.server_state())
    major, minor = divmod(state.version, 10_000)
    text = f"PostgreSQL {major}.{minor}, as {state.user}"
    if major < 15:  # noqa: PLR2004  # the first with NULLS NOT DISTINCT and security_invoker
        return [Finding("server version", "fail", text, "pgqueue needs PostgreSQL 15 or later.")]
    return [Finding("server version", "ok", text)]


def _clocks(conn: BoundedConnection) -> list[Finding]:
    before = dt.datetime.now(dt.UTC)
    _, server, _ = run(conn, _backend())
    here = before + (dt.datetime.now(dt.UTC) - before) / 2
    skew = (server - here).total_seconds()
    late = abs(skew) > SKEW_SECONDS_MAX
    hint = "A run_at that this machine computes is off by as much: give a delay, or set the clock."
    return [
        Finding("clocks", "warn" if late else "ok", f"the server's is {skew:+.3f} s off ours", hint)
    ]


def _notifications(conn: BoundedConnection, where: Endpoint) -> list[Finding]:
    pid = run(conn, _backend())[0]
    pooled = conn.info.backend_pid != pid
    heard = _hears(conn, where)
    value = "delivered" if heard else "not delivered"
    if pooled:
        value += "; a connection pooler stands in between"
    hint = (
        "Workers poll instead of sleeping until they are called. Give workers a DSN that leads to"
        " the server itself, or to a pooler in session mode."
    )
    return [Finding("notifications", "ok" if heard else "warn", value, None if heard else hint)]


def _hears(conn: BoundedConnection, where: Endpoint) -> bool:
    word = secrets.token_hex(8)
    conn.execute(query("listen"))
    try:
        with where.connect(checked=False) as other:
            other.execute(query("notify"), (word,))
        # Closed before the next statement: an open one holds the connection's lock for ever.
        with closing(conn.notifies(timeout=_NOTIFY_SECONDS)) as heard:
            return any(notice.payload == word for notice in heard)
    finally:
        conn.execute(query("unlisten"))


def _drift(conn: BoundedConnection) -> list[Finding]:
    name = "schema unchanged since its installation"
    found = run(conn, calls.drift())
    if not found:
        return [Finding(name, "ok", "yes")]
    shown = ", ".join(f"{row.kind} {row.name} {row.drift}" for row in found[:_SHOWN_MAX])
    more = f" and {len(found) - _SHOWN_MAX} more" if len(found) > _SHOWN_MAX else ""
    hint = (
        "`pgqueue migrate` puts functions, views and grants back; tables and indexes it does not."
    )
    return [Finding(name, "warn", f"{shown}{more}", hint)]


def _verify(conn: BoundedConnection) -> list[Finding]:
    found = run(conn, calls.verify())
    if not found:
        return [Finding("invariants", "ok", "none is broken")]
    shown = "; ".join(f"{row.problem} {row.job_id}" for row in found[:_SHOWN_MAX])
    more = f"; and {len(found) - _SHOWN_MAX} more" if len(found) > _SHOWN_MAX else ""
    hint = (
        "Keep the output of select * from pgqueue.verify() and report it: this is a bug, or damage."
    )
    return [Finding("invariants", "fail", f"{shown}{more}", hint)]


def _backend() -> Call[tuple[int, dt.datetime, str]]:
    return Call(query("backend"), (), _first)


def _first(rows: list[Row]) -> Any:
    return rows[0]


def _findings(rows: list[Row]) -> list[Finding]:
    return [Finding(row["check"], row["status"], row["value"], row["hint"]) for row in rows]
