"""
Fixtures for the tests of applications; active wherever pgqueue is installed, idle until used.

    pgqueue_dsn      conninfo of a new database with the schema; dropped when the test ends
    pgqueue_db       an autocommit connection to it
    pgqueue_drain    pgqueue.testing.drain, over that database

The server is the one of `--pgqueue-dsn`, of the ini option `pgqueue_dsn` or of PGQUEUE_TEST_DSN, by
a role that may create databases; else an embedded one (the extra `embedded`). PGQUEUE_DSN is not
asked: that is where production may be.

When a test ends, `pgqueue.verify()` must report nothing.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from pgqueue.testing import JobRun


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare where the server may be named."""
    told = "a server for the fixtures of pgqueue, by a role that may create databases"
    parser.getgroup("pgqueue").addoption("--pgqueue-dsn", metavar="DSN", help=told)
    parser.addini("pgqueue_dsn", told)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers", "pgqueue(app): the handlers that pgqueue_drain runs, as `pgqueue worker --app`"
    )


@pytest.fixture(scope="session")
def pgqueue_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Conninfo of the server; an embedded one is stopped and removed at the end."""
    config = request.config
    named = (
        config.getoption("--pgqueue-dsn")
        or config.getini("pgqueue_dsn")
        or os.environ.get("PGQUEUE_TEST_DSN")
    )
    if named:
        yield str(named)
        return
    from pgqueue.embedded import EmbeddedServer  # noqa: PLC0415 - only tests that use it pay

    with EmbeddedServer(durable=False) as server:
        yield server.dsn()


@pytest.fixture(scope="session")
def pgqueue_template(pgqueue_server: str) -> Iterator[str]:
    """Name of a database with the schema, to be cloned; nobody may stay connected to it."""
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - as above

    from pgqueue.migrate import migrate  # noqa: PLC0415 - as above
    from pgqueue.scratch import scratch_database  # noqa: PLC0415 - as above

    with scratch_database(pgqueue_server, prefix="pgqueue_template") as dsn:
        migrate(dsn)
        yield str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def pgqueue_dsn(pgqueue_server: str, pgqueue_template: str) -> Iterator[str]:
    """Conninfo of a new database with the schema; its invariants must hold at the end."""
    from pgqueue import calls  # noqa: PLC0415 - as above
    from pgqueue.connection import connect  # noqa: PLC0415 - as above
    from pgqueue.scratch import scratch_database  # noqa: PLC0415 - as above

    with scratch_database(pgqueue_server, prefix="pgqueue_test", template=pgqueue_template) as dsn:
        yield dsn
        with connect(dsn) as connection:
            found = calls.run(connection, calls.verify())
        if found:
            told = "\n".join(str(violation) for violation in found)
            pytest.fail(f"pgqueue.verify() reports:\n{told}", pytrace=False)


@pytest.fixture
def pgqueue_db(pgqueue_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection to the test's database."""
    from pgqueue.connection import connect  # noqa: PLC0415 - as above

    with connect(pgqueue_dsn, application_name="pgqueue test") as connection:
        yield connection


@pytest.fixture
def pgqueue_drain(
    pgqueue_db: psycopg.Connection[Any], request: pytest.FixtureRequest
) -> Callable[..., list[JobRun]]:
    """
    `pgqueue.testing.drain` over the test's database.

    Call it with a registry, unless the test is marked `pgqueue(app="shop.jobs")`.
    """
    from pgqueue.registry import load_app  # noqa: PLC0415 - as above
    from pgqueue.testing import drain  # noqa: PLC0415 - as above

    marker = request.node.get_closest_marker("pgqueue")
    if marker is None:
        return partial(drain, pgqueue_db)
    return partial(drain, pgqueue_db, load_app(*marker.args, **marker.kwargs))
