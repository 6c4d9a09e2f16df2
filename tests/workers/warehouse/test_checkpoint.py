"""The checkpoint against a zombie and its heir, at the level of SQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.support.sqljobs import claim_this, refused, row, run_one, value, worker, worker_dies
from tests.support.wait import waits_for_lock

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.sqljobs import Claimed, Db
    from tests.workers.warehouse.stage import Warehouse

BEGIN = """select checkpoint, done, changed
    from warehouse.begin_import(%s, %s, 'acme', 'products', 'a.csv', 'sha256:1')"""
STORE = "select warehouse.store_products(%s, %s, %s, %s, %s, 0, '[]', false)"
# As COPY does.
STAGE = """insert into pg_temp.import_products (line, sku, name, price, unit)
    values (%s, %s, %s, %s, %s)"""


def chunk(db: Db, job: Claimed, start: int, sku: str) -> None:
    """One chunk of a hundred bytes with one row, in the transaction that is open."""
    db.execute("select warehouse.open_staging()")
    db.execute(STAGE, (start, sku, sku, "1", "piece"))
    db.execute(STORE, (*job.owned, start, start + 100, start + 1))


def test_an_heir_goes_on_behind_the_chunk_that_a_zombie_commits_at_that_moment(
    warehouse: Warehouse, connect: Connect
) -> None:
    """It waits for that commit; from then on the zombie is refused, and every row is there once."""
    db, zombie, heir = warehouse.db, connect(autocommit=False), connect()
    job = run_one(db, "bulk_import", tenant_id="acme")
    begun = row(db, BEGIN, *job.owned)
    chunk(zombie, job, 0, "A")
    worker_dies(db, value(db, "select worker_id from pgqueue.running"))
    db.execute("select pgqueue.rescue()")
    db.execute("update pgqueue.jobs set run_at = null where id = %s", (job.job_id,))
    again = claim_this(db, job.job_id, worker(db))
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(row, heir, BEGIN, *again.owned)
        waits_for_lock(db, "warehouse.begin_import")
        zombie.commit()
        went_on = found.result(20)
    with refused("PQ001"):
        chunk(zombie, job, 100, "Z")
    zombie.rollback()
    with heir.transaction():
        chunk(heir, again, 100, "B")

    assert (begun, went_on) == ((0, False, False), (100, False, False))
    assert [sku for _, sku, _, _ in warehouse.products()] == ["A", "B"]
    totals = "select processed, created from warehouse.import_totals(%s)"
    assert row(db, totals, job.job_id) == (2, 2)


def test_a_zombie_whose_job_was_taken_stores_nothing_before_its_heir_has_begun(
    warehouse: Warehouse,
) -> None:
    """The job is nobody's: the checkpoint has still the zombie's token, which is refused."""
    db = warehouse.db
    job = run_one(db, "bulk_import", tenant_id="acme")
    db.execute(BEGIN, job.owned)
    worker_dies(db, value(db, "select worker_id from pgqueue.running"))
    db.execute("select pgqueue.rescue()")
    with refused("PQ001"), db.transaction():
        chunk(db, job, 0, "Z")

    assert warehouse.products() == []


def test_a_chunk_is_stored_at_its_place_only(warehouse: Warehouse) -> None:
    """The same chunk again, as after a lost reply to COMMIT, or one that leaves a gap."""
    db = warehouse.db
    job = run_one(db, "bulk_import", tenant_id="acme")
    db.execute(BEGIN, job.owned)
    with db.transaction():
        chunk(db, job, 0, "A")
    for start in (0, 200):
        with refused("PQ001"), db.transaction():
            chunk(db, job, start, "Z")

    assert [sku for _, sku, _, _ in warehouse.products()] == ["A"]


def test_checkpoints_that_nobody_needs_are_forgotten(warehouse: Warehouse) -> None:
    """Those of a month ago; one that was touched since stays."""
    db = warehouse.db
    jobs: list[Any] = [run_one(db, "bulk_import", tenant_id="acme") for _ in range(2)]
    for job in jobs:
        db.execute(BEGIN, job.owned)
    db.execute(
        "update warehouse.import_progress set updated_at = now() - interval '31 days'"
        " where job_id = %s",
        (jobs[0].job_id,),
    )
    forgotten = value(db, "select warehouse.forget_imports()")

    assert forgotten == 1
    assert value(db, "select job_id from warehouse.import_progress") == jobs[1].job_id
