"""
The server and the databases of all tests.

`dsn` and `db` give each test a database of its own with the schema installed, cloned from one
template. When such a test ends, `pgqueue.verify()` must report nothing, unless the test is marked
`breaks_invariants`.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest
from psycopg import sql
from pytest_postgresql import factories

from tests.support.cluster import CONNECT_SECONDS, Cluster, open_cluster, tls_environment
from tests.support.databases import scratch_database, violations
from tests.support.psql import install_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_postgresql.executors import NoopExecutor


class Connect(Protocol):
    """Opens one more connection to the test's database; closed when the test ends."""

    def __call__(
        self, *, role: str | None = None, autocommit: bool = True, **params: Any
    ) -> psycopg.Connection[Any]:
        """
        Connect.

        Args:
            role: `SET ROLE` to this one after connecting.
            autocommit: As in psycopg.
            params: Connection parameters, for example `user=` to log in as somebody else.
        """
        ...


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The server: PGQUEUE_TEST_DSN, PGQUEUE_DSN or PG*, else an embedded one of version $PG."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in tls_environment(os.environ).items():
            patch.setenv(name, value)
        yield from open_cluster()


# One template database per run, with the schema installed once.
schema_template = factories.postgresql_noproc(
    depends_on="cluster", dbname=f"pgqueue_test_{os.getpid()}", load=[install_schema]
)


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Note a figure; all of them are printed at the end of the run."""
    return lambda text: record_property("figure", text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests noted."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    figures = sorted(
        f"{value}"
        for report in reports
        for name, value in report.user_properties
        if name == "figure"
    )
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.line(line)


@pytest.fixture
def empty_dsn(cluster: Cluster) -> Iterator[str]:
    """Conninfo of a new, empty database."""
    with scratch_database(cluster) as dsn:
        yield dsn


@pytest.fixture
def dsn(
    cluster: Cluster, schema_template: NoopExecutor, request: pytest.FixtureRequest
) -> Iterator[str]:
    """Conninfo of a new database with the pgqueue schema; its invariants must hold at the end."""
    with scratch_database(cluster, template=schema_template.template_dbname) as dsn:
        yield dsn
        if request.node.get_closest_marker("breaks_invariants") is None:
            found = violations(dsn)
            if found:
                pytest.fail("pgqueue.verify() reports:\n" + "\n".join(found), pytrace=False)


@pytest.fixture
def connect(dsn: str) -> Iterator[Connect]:
    """A factory for connections to the test's database."""
    with ExitStack() as opened:

        def open_one(
            *, role: str | None = None, autocommit: bool = True, **params: Any
        ) -> psycopg.Connection[Any]:
            given = {"connect_timeout": CONNECT_SECONDS, **params}
            conn = psycopg.connect(dsn, autocommit=autocommit, **given)
            # close() and not the connection's own exit, which commits what a test left open.
            opened.callback(conn.close)
            if role is not None:
                conn.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
                if not autocommit:
                    conn.commit()
            return conn

        yield open_one


@pytest.fixture
def db(connect: Connect) -> psycopg.Connection[Any]:
    """An autocommit connection to the test's database, as the schema's owner."""
    return connect()
