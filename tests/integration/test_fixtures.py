"""The fixtures themselves: databases are apart, and broken invariants fail a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.databases import violations
from tests.support.psql import PsqlError, psql, psql_result

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import Connect


def test_a_fresh_database_has_the_schema_and_keeps_its_invariants(
    dsn: str, db: psycopg.Connection[Any]
) -> None:
    """The template carries the schema; verify() has nothing to report about an empty one."""
    found = db.execute("select to_regclass('pgqueue.jobs') is not null").fetchone()

    assert found == (True,)
    assert violations(dsn) == []


def test_an_empty_database_has_no_schema(empty_dsn: str) -> None:
    """For the tests of installation; verify() is not asked there."""
    assert psql(empty_dsn, "select to_regnamespace('pgqueue') is null") == "t"
    assert violations(empty_dsn) == []


@pytest.mark.breaks_invariants
def test_a_job_that_is_nowhere_is_reported(dsn: str, db: psycopg.Connection[Any]) -> None:
    """What the end of every other test checks can fail."""
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        db.execute("insert into pgqueue.jobs (job_type) values ('lost')")

    assert violations(dsn) != []


def test_a_connection_can_take_a_role(connect: Connect) -> None:
    """Grants are tested as the role that has them."""
    found = connect(role="pg_monitor").execute("select current_user").fetchone()

    assert found == ("pg_monitor",)


def test_psql_stops_at_the_first_error(empty_dsn: str) -> None:
    """And the message holds what psql printed."""
    script = "select 1/0; select 'not reached'"

    with pytest.raises(PsqlError, match="division by zero"):
        psql(empty_dsn, script)
    assert "not reached" not in psql_result(empty_dsn, script).stdout
