"""Tenants: whose rows a job writes, and who sees them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from tests.support.sqljobs import column, refused
from tests.workers.warehouse.stage import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Connect
    from tests.workers.warehouse.stage import Warehouse


@pytest.fixture
def analyst(warehouse: Warehouse) -> Iterator[str]:
    """A login that may read the warehouse and is confined to acme."""
    db, name = warehouse.db, f"analyst_{secrets.token_hex(4)}"
    role = sql.Identifier(name)
    db.execute(sql.SQL("create role {} login").format(role))
    db.execute(sql.SQL("grant pgqueue_producer to {}").format(role))
    db.execute(sql.SQL("grant usage on schema warehouse to {}").format(role))
    rights = "grant select, insert, update on all tables in schema warehouse to {}"
    db.execute(sql.SQL(rights).format(role))
    db.execute("select pgqueue.enable_tenants()")
    db.execute("select pgqueue.confine(%s, 'acme')", (name,))
    yield name
    db.execute("select pgqueue.unconfine(%s)", (name,))
    db.execute(sql.SQL("drop owned by {}").format(role))
    db.execute(sql.SQL("drop role {}").format(role))


def test_rows_belong_to_the_tenant_of_the_job(
    warehouse: Warehouse, analyst: str, connect: Connect
) -> None:
    """Same file name, same sku, two tenants: two rows, of which a confined login sees its own."""
    warehouse.file("p.csv", PRODUCTS + "A,Saw,1\n")
    warehouse.file("p.csv", PRODUCTS + "A,Other saw,2\n", tenant="umbrella")
    jobs = [
        warehouse.enqueue("bulk_import", tenant=tenant, kind="products", path="p.csv")
        for tenant in ("acme", "umbrella")
    ]
    warehouse.run(*jobs)
    as_analyst = connect(user=analyst)

    assert warehouse.products() == [
        ("acme", "A", "Saw", "1.00"),
        ("umbrella", "A", "Other saw", "2.00"),
    ]
    assert column(as_analyst, "select name from warehouse.products") == ["Saw"]
    assert column(as_analyst, "select tenant_id from warehouse.import_progress") == ["acme"]
    with refused("42501"):
        as_analyst.execute(
            "insert into warehouse.products (tenant_id, sku, name, price)"
            " values ('umbrella', 'B', 'x', 1)"
        )
    changed: Any = as_analyst.execute("update warehouse.products set price = 9")
    assert changed.rowcount == 1


def test_a_payload_cannot_name_another_tenant(warehouse: Warehouse) -> None:
    """There is no such parameter: the job fails before anything is read."""
    warehouse.file("p.csv", PRODUCTS + "A,Saw,1\n")
    job_id = warehouse.enqueue("bulk_import", kind="products", path="p.csv", tenant_id="umbrella")
    (ended,) = warehouse.run(job_id)

    assert (ended.status, ended.codes) == ("failed", ["payload_mismatch"])
    assert warehouse.products() == []


def test_a_worker_needs_no_more_than_its_role(warehouse: Warehouse, connect: Connect) -> None:
    """A login with pgqueue_worker alone imports, syncs and reports; it is not the owner."""
    db, name = warehouse.db, f"worker_{secrets.token_hex(4)}"
    role = sql.Identifier(name)
    db.execute(sql.SQL("create role {} login").format(role))
    db.execute(sql.SQL("grant pgqueue_worker to {}").format(role))
    try:
        warehouse.file("p.csv", PRODUCTS + "A,Saw,1\n")
        warehouse.file("s.csv", "sku,location,quantity\nA,here,1\n")
        jobs = [
            warehouse.enqueue("bulk_import", kind="products", path="p.csv"),
            warehouse.enqueue("bulk_import", kind="stock_levels", path="s.csv"),
            warehouse.enqueue("export_report"),
        ]
        ended = warehouse.run(*jobs, user=name, concurrency=1)
    finally:
        db.execute(sql.SQL("drop owned by {}").format(role))
        db.execute(sql.SQL("drop role {}").format(role))

    assert [(one.status, one.codes) for one in ended] == [("succeeded", [])] * 3
    assert warehouse.stock() == [("acme", "A", "here", 1)]
