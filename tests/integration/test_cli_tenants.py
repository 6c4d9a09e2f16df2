"""`pgqueue tenants`: the row of each, and every command that changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Cli
from tests.support.sqljobs import insert, value

if TYPE_CHECKING:
    import psycopg

    Db = psycopg.Connection[Any]


@pytest.fixture
def cli(dsn: str) -> Cli:
    """The command line on the test's database."""
    return Cli(dsn)


def test_tenants_are_listed_with_what_waits_and_what_they_may(cli: Cli, db: Db) -> None:
    """The table has the numbers of the JSON; it says so when there are none."""
    empty = cli("tenants", "list").stderr
    insert(db, tenant_id="acme")
    told = cli.text("tenants", "quota", "acme", "--waiting", "10000", "--payload-bytes", "500")
    cli.text("tenants", "weight", "acme", "3")
    (row,) = cli.data("tenants", "list")
    line = cli.text("tenants", "list").splitlines()[1]

    assert empty.strip() == "No tenants."
    assert told.strip() == "quota of tenant acme: waiting_max 10,000, payload_bytes_max 500"
    assert (row["tenant_id"], row["queued"], row["weight"]) == ("acme", 1, 3)
    assert (row["waiting_max"], row["waiting_bytes_max"], row["payload_bytes_max"]) == (
        10_000,
        None,
        500,
    )
    assert line.split()[0] == "acme"


def test_a_quota_is_removed_by_name(cli: Cli, db: Db) -> None:
    """Naming neither a quota nor --none, or both, is a usage error."""
    cli.text("tenants", "quota", "acme", "--waiting", "0")
    cli.text("tenants", "quota", "acme", "--none")
    insert(db, tenant_id="acme")

    assert cli("tenants", "quota", "acme").exit_code == 2
    assert cli("tenants", "quota", "acme", "--none", "--waiting", "1").exit_code == 2
    assert value(db, "select count(*) from pgqueue.jobs") == 1


def test_a_job_beyond_the_quota_is_refused_with_exit_code_4(cli: Cli) -> None:
    """In words that say what to do."""
    cli.text("tenants", "quota", "acme", "--waiting", "0")
    done = cli("enqueue", "t", "--tenant", "acme")

    assert done.exit_code == 4
    assert "the quota of tenant 'acme' is exceeded" in done.stderr


def test_a_queue_is_made_fair_and_not(cli: Cli, db: Db) -> None:
    """By the owner of the schema."""
    seen = []
    for more in ([], ["--off"]):
        cli.text("tenants", "fair", "mail", *more)
        seen.append(value(db, "select fair from pgqueue.queues where queue = 'mail'"))

    assert seen == [True, False]


def test_a_login_is_confined_and_freed(cli: Cli, db: Db) -> None:
    """The first one turns row-level security on."""
    role = value(db, "select current_user")
    if value(db, "select pg_has_role(current_user, 'pgqueue_operator', 'member')"):
        assert cli("tenants", "confine", role, "acme").exit_code == 2
        role = "pgqueue_viewer"
    cli.text("tenants", "confine", role, "acme")
    confined = value(db, "select tenant_id from pgqueue.tenants")
    cli.text("tenants", "unconfine", role)

    assert confined == "acme"
    assert value(db, "select count(*) from pgqueue.tenants") == 0
