"""Deposits, adjustments, refunds, statements, and who may do what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import workers.metering
from pgqueue.migrate_app import migrate_app
from tests.support.psql import SQL_DIR
from tests.support.sqljobs import claim_this, column, refused, row, sqlstate_of, value
from tests.workers.metering.money import Wallet, deposit, entries, order, wallet

if TYPE_CHECKING:
    from uuid import UUID

    from tests.conftest import Connect
    from tests.support.sqljobs import Db


def _charged(db: Db) -> UUID:
    job_id = order(db)
    db.execute("select pgqueue.complete(%s, %s)", claim_this(db, job_id).owned)
    return job_id


def test_a_payment_that_is_reported_twice_is_entered_once(shop: Db) -> None:
    """By its reference; with another amount it is an error."""
    first = deposit(shop, 100, reference="pay_1")
    again = deposit(shop, 100, reference="pay_1")
    with refused("PQ006"):
        deposit(shop, 200, reference="pay_1")

    assert first == again
    assert wallet(shop) == Wallet(100, 0, 100)


def test_an_adjustment_never_takes_what_jobs_have_reserved(shop: Db) -> None:
    """PQ009; up to what is available it does."""
    deposit(shop, 100)
    order(shop)
    with refused("PQ009"):
        shop.execute("select metering.adjust('acme', 'EUR', -71, 'too much')")
    shop.execute("select metering.adjust('acme', 'EUR', -70, 'paid out')")
    shop.execute("select metering.adjust('acme', 'EUR', 5, 'sorry')")

    assert wallet(shop) == Wallet(35, 30, 5)
    assert entries(shop) == [("deposit", 100), ("adjustment", -70), ("adjustment", 5)]


def test_a_refund_never_exceeds_the_charges(shop: Db) -> None:
    """A part, then the rest, then nothing."""
    deposit(shop, 100)
    job_id = _charged(shop)
    shop.execute("select metering.refund(%s, 10)", (job_id,))
    with refused("PQ006"):
        shop.execute("select metering.refund(%s, 21)", (job_id,))
    shop.execute("select metering.refund(%s)", (job_id,))
    with refused("PQ006"):
        shop.execute("select metering.refund(%s)", (job_id,))
    with refused("PQ006"):
        shop.execute("select metering.refund(%s)", (order(shop),))

    assert wallet(shop) == Wallet(100, 30, 70)


@pytest.mark.parametrize("amount", [0, -5, 10**15 + 1, None])
def test_a_deposit_of_nothing_or_less_is_refused(shop: Db, amount: int | None) -> None:
    """Nor can one be larger than a sum of a million of them can be."""
    with refused("PQ006"):
        shop.execute("select metering.deposit('acme', 'EUR', %s)", (amount,))


def test_the_statement_shows_each_entry_and_the_balance_after_it(shop: Db) -> None:
    """And revenue what the day brought, per type."""
    deposit(shop, 100)
    job_id = _charged(shop)
    _charged(shop)
    shop.execute("select metering.refund(%s, 10)", (job_id,))
    found = shop.execute(
        "select kind, amount, balance from metering.wallet_statement order by id"
    ).fetchall()
    revenue = row(
        shop,
        "select job_type, currency, jobs, charged, refunded, net from metering.revenue",
    )

    assert found == [
        ("deposit", 100, 100),
        ("charge", -30, 70),
        ("charge", -30, 40),
        ("refund", 10, 50),
    ]
    assert revenue == ("picture", "EUR", 2, 60, 10, 50)


@pytest.mark.parametrize(
    "statement",
    [
        "update metering.wallet_entries set amount = 1",
        "delete from metering.wallet_entries",
        "truncate metering.wallet_entries",
    ],
)
def test_the_ledger_is_never_changed(shop: Db, statement: str) -> None:
    """Not by the owner either."""
    deposit(shop, 100)

    assert sqlstate_of(shop, statement) == "PQ007"


@pytest.mark.parametrize("role", ["pgqueue_producer", "pgqueue_worker"])
def test_producers_and_workers_have_no_right_on_money(
    shop: Db, connect: Connect, role: str
) -> None:
    """They insert and run jobs; what that does to a wallet the hook does, as the owner."""
    deposit(shop, 100)
    conn = connect(role=role)
    tables = column(
        shop,
        "select oid::regclass::text from pg_class"
        " where relnamespace = 'metering'::regnamespace and relkind in ('r', 'v')",
    )

    assert {sqlstate_of(conn, f"select * from {table}") for table in tables} == {"42501"}
    assert sqlstate_of(conn, "select metering.deposit('acme', 'EUR', 1)") == "42501"
    assert sqlstate_of(conn, "select metering.reserve('{}', true)") == "42501"


def test_a_producer_spends_and_a_worker_charges_without_any(shop: Db, connect: Connect) -> None:
    """The roles that they have are enough."""
    deposit(shop, 100)
    job_id = order(connect(role="pgqueue_producer"))
    conn = connect(role="pgqueue_worker")
    by = value(conn, "select pgqueue.register_worker('w', '{default}')")
    token = value(conn, "select token from pgqueue.claim_job(%s, %s)", by, job_id)
    conn.execute("select pgqueue.complete(%s, %s)", (job_id, token))

    assert wallet(shop) == Wallet(70, 0, 70)


def test_viewers_look_and_operators_pay_in(shop: Db, connect: Connect) -> None:
    """An operator sets prices, too; neither writes a table."""
    viewer, operator = connect(role="pgqueue_viewer"), connect(role="pgqueue_operator")
    deposit(operator, 100)
    operator.execute("select metering.set_price('song', 1, 'EUR')")

    assert wallet(viewer) == Wallet(100, 0, 100)
    assert sqlstate_of(viewer, "select metering.deposit('acme', 'EUR', 1)") == "42501"
    assert sqlstate_of(operator, "update metering.wallets set balance = 9") == "42501"
    assert column(viewer, "select * from metering.verify()") == []


def test_a_confined_viewer_sees_its_own_tenants_money(shop: Db, connect: Connect) -> None:
    """In every table and view."""
    shop.execute("select pgqueue.enable_tenants()")
    for customer, tenant in (("t1", "one"), ("t2", "two")):
        shop.execute("select metering.set_customer(%s, p_tenant_id => %s)", (customer, tenant))
        deposit(shop, 100, customer)
        order(shop, customer=customer, tenant_id=tenant)
        shop.execute("select metering.adjust(%s, 'EUR', 1, 'gift')", (customer,))
    shop.execute("insert into pgqueue.tenants values ('pgqueue_viewer', 'one')")
    viewer = connect(role="pgqueue_viewer")
    tables = ("customers", "wallets", "wallet_status", "wallet_changes", "reservations")
    seen = {table: value(viewer, f"select count(*) from metering.{table}") for table in tables}
    statement = value(viewer, "select count(*) from metering.wallet_statement")
    shop.execute("delete from pgqueue.tenants")

    assert set(seen.values()) == {1}
    assert statement == 2


def test_the_lints_of_the_core_pass(shop: Db) -> None:
    """The same catalogue lints, asked of the other schema."""
    problems = []
    for file in sorted((SQL_DIR / "lint").glob("*.sql")):
        query = file.read_text(encoding="utf-8").replace("'pgqueue'", "'metering'")
        problems += [(file.stem, found) for (found,) in shop.execute(query).fetchall()]

    assert problems == []


def test_installing_again_changes_nothing(shop: Db, dsn: str) -> None:
    """Prices, wallets and hooks stay."""
    deposit(shop, 100)
    migrate_app(workers.metering.__name__, dsn)

    assert wallet(shop) == Wallet(100, 0, 100)
    assert value(shop, "select count(*) from pgqueue.hooks") == 2
    assert column(shop, "select name from pgqueue.drift()") == []
