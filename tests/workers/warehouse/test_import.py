"""bulk_import through real worker processes: exactly once, whatever happens in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.applications import survive_kill
from tests.support.sqljobs import column, refused, row, value
from tests.support.wait import eventually, waits_for_lock
from tests.support.web import Answer, pretending, too_many
from tests.support.workers import worker_process
from tests.workers.warehouse.stage import APP, PRODUCTS, many
from workers.warehouse.download import is_below

if TYPE_CHECKING:
    from tests.workers.warehouse.stage import Warehouse

ROWS = 20_000
# In the eleventh chunk of 1,000 rows.
_BLOCKED = "SKU-010501"


def test_a_file_twice_is_there_once_and_every_bad_row_is_named(warehouse: Warehouse) -> None:
    """20,000 rows, 40 of them without a price: counted exactly, the second time skipped."""
    warehouse.file("products.csv", many(ROWS, bad_every=500))
    jobs = [warehouse.enqueue("bulk_import", kind="products", path="products.csv") for _ in "12"]
    # One after the other: at once, each would create a part.
    ended = warehouse.run(*jobs, concurrency=1)
    progress = "select progress from pgqueue.job_status where id = %s"

    assert [one.counted for one in ended] == [(ROWS - 40, 0, 0), (0, 0, ROWS - 40)]
    assert [one.status for one in ended] == ["partial", "partial"]
    assert ended[0].codes == ["field_missing"] * 40
    assert [error["item"] for error in ended[0].errors[:2]] == [
        {"row": 501, "field": "price"},
        {"row": 1001, "field": "price"},
    ]
    assert value(warehouse.db, progress, jobs[0]) == 100
    assert warehouse.fingerprint()[0] == ROWS - 40


def test_a_changed_file_updates_what_differs(warehouse: Warehouse) -> None:
    """Of two rows with one key the later one counts; json lines and CSV fill the same table."""
    warehouse.file("a.csv", PRODUCTS + "A,Saw,1\nB,Nail,2\nC,Glue,3\n")
    lines = ('{"sku": "A", "name": "Saw", "price": 1}', '{"sku": "B", "name": "Nail", "price": 9}')
    later = '{"sku": "D", "name": "old", "price": 1}\n{"sku": "D", "name": "new", "price": 1}\n'
    warehouse.file("b.jsonl", "\n".join(lines) + "\n" + later)
    (first,) = warehouse.run(warehouse.enqueue("bulk_import", kind="products", path="a.csv"))
    (second,) = warehouse.run(warehouse.enqueue("bulk_import", kind="products", path="b.jsonl"))

    assert (first.counted, second.counted) == ((3, 0, 0), (1, 1, 2))
    assert (first.status, second.status) == ("succeeded", "succeeded")
    assert warehouse.products() == [
        ("acme", "A", "Saw", "1.00"),
        ("acme", "B", "Nail", "9.00"),
        ("acme", "C", "Glue", "3.00"),
        ("acme", "D", "new", "1.00"),
    ]


def test_a_killed_import_goes_on_behind_its_last_chunk(warehouse: Warehouse) -> None:
    """Killed with -9 in the eleventh chunk of twenty: the heir's totals count every row once."""
    warehouse.file("products.csv", many(ROWS, bad_every=500))
    job_id = warehouse.enqueue("bulk_import", kind="products", path="products.csv")
    progress = "select lines, processed, created, refused from warehouse.import_progress"
    found: list[Any] = []
    with psycopg.connect(warehouse.dsn) as holder:
        # Its chunk waits for this row, and nothing else does.
        holder.execute(
            "insert into warehouse.products (tenant_id, sku, name, price) values (%s, %s, 'x', 1)",
            ("acme", _BLOCKED),
        )

        def in_the_middle() -> None:
            waits_for_lock(warehouse.db, "warehouse.store_products")
            half = "select from pgqueue.job_status where progress between 49 and 51"
            eventually(lambda: warehouse.db.execute(half).fetchall(), what="half is done")

        def when_dead() -> None:
            holder.rollback()
            found.append(row(warehouse.db, progress))

        ended = survive_kill(
            warehouse.dsn,
            warehouse.db,
            warehouse.tmp,
            APP,
            job_id,
            middle=in_the_middle,
            after=when_dead,
            environment=warehouse.environment,
        )
    log = (warehouse.tmp / "heir.log").read_text()

    # 1,000 rows are 1,000 lines here; two of them have no price. The header is line 1.
    assert found == [(10_001, 10_000, 9_980, 20)]
    assert "goes on behind line 10001" in log
    assert (ended.status, ended.attempt, ended.counted) == ("partial", 2, (ROWS - 40, 0, 0))
    assert (ended.result["rows"], ended.result["refused"]) == (ROWS, 40)
    assert warehouse.fingerprint()[0] == ROWS - 40


def test_an_attempt_that_was_overtaken_stores_nothing_more(warehouse: Warehouse) -> None:
    """Its heir has begun: the chunk that it had in hand is refused with PQ001, rows and all."""
    db = warehouse.db
    job_id = warehouse.enqueue("bulk_import", kind="products", path="x.csv")
    begin = "select checkpoint, done, changed from warehouse.begin_import(%s, %s, %s, %s, %s, %s)"
    told = ("acme", "products", "x.csv", "sha256:1")
    started = row(db, begin, job_id, 7, *told)
    taken_over = row(db, begin, job_id, 8, *told)
    store = "select warehouse.store_products(%s, %s, 0, 10, 1, 0, '[]', false)"
    with refused("PQ001"):
        db.execute(store, (job_id, 7))
    with refused("PQ001"):
        db.execute(begin, (job_id, 7, *told))
    # Nor does one that holds the checkpoint, but not the job.
    with refused("PQ001"):
        db.execute(store, (job_id, 8))

    assert (started, taken_over) == ((0, False, False), (0, False, False))


def test_a_retry_of_a_finished_import_starts_over(warehouse: Warehouse) -> None:
    """An operator mends the file and retries the job: all of it is read again, and counted so."""
    warehouse.file("a.csv", PRODUCTS + "A,Saw,1\nB,Nail,\n")
    job_id = warehouse.enqueue("bulk_import", kind="products", path="a.csv")
    (first,) = warehouse.run(job_id)
    warehouse.file("a.csv", PRODUCTS + "A,Saw,1\nB,Nail,2\n")
    warehouse.db.execute("select pgqueue.retry(%s)", (job_id,))
    (second,) = warehouse.run(job_id)

    assert (first.status, first.counted) == ("partial", (1, 0, 0))
    assert (second.status, second.counted) == ("succeeded", (1, 0, 1))


def test_a_file_that_changed_between_two_attempts_is_refused(warehouse: Warehouse) -> None:
    """Half of one file and half of another would be neither."""
    warehouse.file("a.csv", PRODUCTS + "A,Saw,1\n")
    job_id = warehouse.enqueue("bulk_import", kind="products", path="a.csv")
    warehouse.db.execute(
        "select from warehouse.begin_import(%s, 0, 'acme', 'products', 'a.csv', 'sha256:other')",
        (job_id,),
    )
    (ended,) = warehouse.run(job_id)

    assert (ended.status, ended.codes) == ("failed", ["source_changed"])
    assert warehouse.products() == []


def test_stock_of_unknown_products_is_refused_row_by_row(warehouse: Warehouse) -> None:
    """Errors are kept in the order of their rows, the first hundred; all are counted."""
    warehouse.file("p.csv", PRODUCTS + "A,Saw,1\n")
    rows = ["A,here,5\n", *(f"X-{n},here,5\n" for n in range(150)), "A,there,-1\n", "A,there,7\n"]
    warehouse.file("s.csv", ["sku,location,quantity\n", *rows])
    warehouse.run(warehouse.enqueue("bulk_import", kind="products", path="p.csv"))
    (ended,) = warehouse.run(warehouse.enqueue("bulk_import", kind="stock_levels", path="s.csv"))

    assert warehouse.stock() == [("acme", "A", "here", 5), ("acme", "A", "there", 7)]
    assert (ended.status, ended.counted, ended.metrics["custom"]) == (
        "partial",
        (2, 0, 0),
        {"items_refused": 151},
    )
    assert ended.codes == ["unknown_product"] * 100 + ["errors_truncated"]
    assert [error["item"]["row"] for error in ended.errors[:100]] == list(range(3, 103))
    assert ended.errors[-1]["item"] == {"refused": 151}


def test_what_cannot_be_read_ends_at_once_and_says_why(warehouse: Warehouse) -> None:
    """Each in its own way, without a second attempt, and without a row stored."""
    warehouse.file("latin.csv", PRODUCTS.encode() + "A,S\xe4ge,1\n".encode("latin-1"))
    warehouse.file("columns.csv", "sku;name;price\nA;Saw;1\n")
    warehouse.file("refused.csv", PRODUCTS + "A,Saw,\nB,S\0aw,2\n")
    with (warehouse.root / "acme" / "long.jsonl").open("wb") as file:
        file.truncate(50_000_000)
    cases = [
        ({"kind": "products", "path": "latin.csv"}, "bad_encoding"),
        ({"kind": "products", "path": "columns.csv"}, "missing_column"),
        ({"kind": "products", "path": "refused.csv"}, "all_rows_refused"),
        ({"kind": "products", "path": "long.jsonl"}, "line_too_long"),
        ({"kind": "products", "path": "nothing.csv"}, "file_missing"),
        ({"kind": "products", "path": "../umbrella/a.csv"}, "file_not_allowed"),
        ({"kind": "products", "url": "http://169.254.169.254/a.csv"}, "url_not_allowed"),
        ({"kind": "products", "path": "a.xlsx"}, "unknown_format"),
        ({"kind": "products"}, "bad_source"),
        ({"kind": "customers", "path": "a.csv"}, "payload_mismatch"),
    ]
    jobs = [warehouse.enqueue("bulk_import", **payload) for payload, _ in cases]
    nobodys = warehouse.enqueue("bulk_import", tenant=None, kind="products", path="latin.csv")
    ended = warehouse.run(*jobs, nobodys)

    assert [one.codes[-1] for one in ended] == [*(code for _, code in cases), "tenant_missing"]
    assert {(one.status, one.attempt) for one in ended} == {("failed", 1)}
    assert [error["code"] for error in ended[2].errors[:2]] == ["field_missing", "nul_character"]
    assert warehouse.products() == []


def test_a_disabled_job_type_is_refused_at_the_insert(warehouse: Warehouse) -> None:
    """An operator stops imports; a report may still be asked for."""
    db = warehouse.db
    with worker_process(warehouse.dsn, warehouse.tmp, app=APP, environment=warehouse.environment):
        db.execute("select pgqueue.set_job_type('bulk_import', p_enabled => false)")
    with refused("23514", constraint="jobs_job_type_enabled"):
        warehouse.enqueue("bulk_import", kind="products", path="a.csv")

    assert warehouse.enqueue("export_report") is not None


def test_a_file_is_fetched_from_an_allowed_address(warehouse: Warehouse) -> None:
    """The server asks for patience, breaks off, and then sends the file."""
    content = (PRODUCTS + "A,Saw,1\n" * 100).encode()
    with pretending(lambda _: Answer(200, content)) as server:
        server.next(too_many(1), Answer(200, content, missing=50))
        job_id = warehouse.enqueue(
            "bulk_import", kind="products", url=f"{server.url}/exports/a.csv?day=7"
        )
        stray = warehouse.enqueue("bulk_import", kind="products", url=f"{server.url}/other/a.csv")
        fetched, refused_one = warehouse.run(
            job_id, stray, WAREHOUSE_IMPORT_FROM=f"{server.url}/exports"
        )
        paths = [request.path for request in server.requests]
    outcomes = "select error ->> 'code' from pgqueue.attempts where job_id = %s order by token"

    assert (fetched.status, fetched.attempt, fetched.counted) == ("succeeded", 3, (1, 0, 99))
    assert column(warehouse.db, outcomes, job_id) == ["retry_requested", "bad_answer"]
    assert (refused_one.status, refused_one.codes) == ("failed", ["url_not_allowed"])
    assert paths == ["/exports/a.csv"] * 3


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example.com/exports-of-others/a.csv",
        "http://files.example.com/exports/../a.csv",
        "http://files.example.com/exports/%2E%2e/a.csv",
        "http://files.example.com:81/exports/a.csv",
        "https://files.example.com/exports/a.csv",
        "http://files.example.com@evil.example.com/exports/a.csv",
        "http://me@files.example.com/exports/a.csv",
        "http://files.example.com.evil.example.com/exports/a.csv",
        "file:///exports/a.csv",
        "http://[files.example.com/exports/a.csv",
    ],
)
def test_an_address_that_only_looks_allowed_is_not(url: str) -> None:
    """Scheme, host and port are the same, and the path begins with a whole folder."""
    assert is_below("http://files.example.com/exports/a.csv", "http://files.example.com/exports")
    assert not is_below(url, "http://files.example.com/exports")
