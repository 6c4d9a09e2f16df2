from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgqueue import calls
from pgqueue.connection import check, connect, connect_async, endpoint
from pgqueue.dsn import Timeouts
from pgqueue.embedded import EmbeddedServer
from pgqueue.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    NotPrimary,
    PermissionDenied,
    SchemaMismatch,
)
from pgqueue.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cluster import Cluster


def shown(conn: psycopg.Connection[Any], name: str) -> str:
    """Return a setting of the session."""
    row = conn.execute("select current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def poor_login(cluster: Cluster) -> Iterator[str]:
    """A login that was granted nothing."""
    name = f"pgqueue_test_poor_{os.getpid()}"
    with psycopg.connect(cluster.dsn(cluster.maintenance_dbname), autocommit=True) as conn:
        conn.execute(sql.SQL("create role {} login password 'x'").format(sql.Identifier(name)))
        yield name
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.fixture
def refusing_pooler() -> Iterator[int]:
    """The port of a server that answers as PgBouncer does to unknown startup parameters."""
    listener = socket.create_server(("127.0.0.1", 0))
    message = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                size, code = struct.unpack("!II", peer.recv(8))
                if code in {80877103, 80877104}:  # asks for TLS or GSS: no
                    peer.sendall(b"N")
                    size = struct.unpack("!I", peer.recv(4))[0] + 4
                peer.recv(size)
                peer.sendall(b"E" + struct.pack("!I", len(message) + 4) + message)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def test_a_connection_has_its_limits_and_read_committed(dsn: str) -> None:
    """Whatever the database's defaults are."""
    name = conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as admin:
        for setting in ("default_transaction_isolation = serializable", "statement_timeout = 1"):
            admin.execute(
                sql.SQL("alter database {} set " + setting).format(sql.Identifier(str(name)))
            )

    with connect(dsn, timeouts=Timeouts(statement=12)) as conn:
        assert shown(conn, "transaction_isolation") == "read committed"
        assert shown(conn, "statement_timeout") == "12s"
        assert shown(conn, "lock_timeout") == "10s"
        assert shown(conn, "application_name") == "pgqueue"


def test_behind_a_pooler_each_call_says_its_isolation_itself(dsn: str) -> None:
    """There are no session settings to rely on, and no prepared statements."""
    name = conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(
            sql.SQL(
                "alter database {} set default_transaction_isolation = 'repeatable read'"
            ).format(sql.Identifier(str(name)))
        )
    asked: calls.Call[str] = calls.Call(
        "select current_setting('transaction_isolation')", (), lambda rows: str(rows[0][0])
    )

    with connect(dsn, pooler=True) as conn:
        assert shown(conn, "transaction_isolation") == "repeatable read"
        assert calls.run(conn, asked) == "read committed"
        assert conn.prepare_threshold is None


def test_a_pooler_that_refuses_options_is_explained(refusing_pooler: int) -> None:
    """The error names both ways out."""
    dsn = f"host=127.0.0.1 port={refusing_pooler} user=u dbname=d password=geheim sslmode=disable"
    with pytest.raises(ConfigurationError) as caught:
        connect(dsn)

    assert "PGQUEUE_POOLER=1" in str(caught.value)
    assert "ignore_startup_parameters" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_call_that_does_not_end_ends_at_its_deadline(dsn: str) -> None:
    """And the connection with it: a late answer would be taken for the next call's."""
    with connect(dsn) as conn:
        conn.call_seconds = 0.3
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match=r"no answer .* within 0\.3 s"):
            conn.execute("select pg_sleep(30)")

        assert time.monotonic() - began < 5
        assert conn.broken


def test_an_asynchronous_call_ends_at_its_deadline_too(dsn: str) -> None:
    """As the synchronous one."""

    async def hang() -> bool:
        conn = await connect_async(dsn)
        conn.call_seconds = 0.3
        slow: calls.Call[object] = calls.Call("select pg_sleep(30)", (), len)
        with pytest.raises(DatabaseUnavailable, match="no answer"):
            await calls.run_async(conn, slow)
        return conn.broken

    assert asyncio.run(hang())


def test_a_slow_statement_is_ended_by_the_server_first(dsn: str) -> None:
    """Its answer says more than a deadline, and the connection goes on."""
    slow: calls.Call[object] = calls.Call("select pg_sleep(30)", (), len)
    with connect(dsn, timeouts=Timeouts(statement=0.2)) as conn:
        with pytest.raises(DatabaseUnavailable, match="statement timeout"):
            calls.run(conn, slow)

        assert shown(conn, "statement_timeout") == "200ms"


def test_a_server_that_is_not_there_is_unavailable_and_a_wrong_name_is_not(dsn: str) -> None:
    """Waiting helps against the one, not against the other; neither shows the password."""
    with pytest.raises(DatabaseUnavailable) as gone:
        connect("host=127.0.0.1 port=1 user=u password=geheim")
    with pytest.raises(ConfigurationError, match="pgqueue_no_such_db") as wrong:
        connect(make_conninfo(dsn, dbname="pgqueue_no_such_db"))

    assert "geheim" not in str(gone.value) + repr(endpoint("host=h password=geheim"))
    assert "does not exist" in str(wrong.value)


def test_a_missing_schema_is_named_with_the_command_that_installs_it(empty_dsn: str) -> None:
    """And with the version that this program needs."""
    with pytest.raises(SchemaMismatch, match=r"needs version \d+. Run `pgqueue migrate`"):
        connect(empty_dsn)


def test_a_schema_of_another_version_is_refused_with_both_versions(
    dsn: str, db: psycopg.Connection[Any]
) -> None:
    """Older: migrate. Newer: install a newer program."""
    with connect(dsn) as conn:
        wanted = calls.run(conn, calls.schema_version())
        db.execute("insert into pgqueue.migrations (version, name) values (999, 'later')")
        with pytest.raises(SchemaMismatch, match=f"version 999, this program needs .* {wanted}"):
            check(conn)
        db.execute("update pgqueue.migrations set version = version - 1000")
        with pytest.raises(SchemaMismatch, match=r"version -1, .* Run `pgqueue migrate`"):
            check(conn)


def test_a_role_without_rights_is_told_which_to_ask_for(dsn: str, poor_login: str) -> None:
    """The error names the role and the four roles."""
    with pytest.raises(PermissionDenied) as caught:
        connect(make_conninfo(dsn, user=poor_login, password="x"))

    assert poor_login in str(caught.value)
    assert "pgqueue_producer" in str(caught.value)


def test_a_read_only_server_is_refused(dsn: str) -> None:
    """It would refuse the first INSERT, after a worker had started."""
    with pytest.raises(NotPrimary, match="read-only"):
        connect(make_conninfo(dsn, options="-c default_transaction_read_only=on"))


@pytest.mark.slow
def test_a_standby_is_refused(short_tmp: Path) -> None:
    """The hint says how to find the primary."""
    server = EmbeddedServer(short_tmp / "data", durable=False)
    try:
        server.start()
        migrate(server.dsn())
        server.stop()
        (server.data_dir / "pgdata" / "standby.signal").touch()
        server.start()
        with pytest.raises(NotPrimary, match="standby"):
            connect(server.dsn())
        with pytest.raises(NotPrimary, match="standby"):
            migrate(server.dsn())
    finally:
        server.stop()
