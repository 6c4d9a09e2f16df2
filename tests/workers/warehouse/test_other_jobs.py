"""sync_stock and export_report through real worker processes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from tests.support.applications import survive_kill
from tests.support.sqljobs import column, row, value
from tests.support.wait import waits_for_lock
from tests.support.web import Answer, broken, malformed, pretending, too_many
from tests.support.workers import reaches, worker_process
from tests.workers.warehouse.stage import APP
from workers.http import BadAnswer
from workers.warehouse.syncing import read_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.web import Pretender, Request
    from tests.workers.warehouse.stage import Warehouse

PAGES = 5


def page(request: Request) -> Answer:
    """One of five pages, two items each; on the third an unknown product."""
    number = int(request.query["page"])
    items: list[Any] = [
        {"sku": "A", "location": f"{number}-a", "quantity": number},
        {"sku": "B" if number != 3 else "X", "location": f"{number}-b", "quantity": number},
    ]
    return Answer(200, {"items": items, "next_page": number + 1 if number < PAGES else None})


@pytest.fixture
def api() -> Iterator[Pretender]:
    """The stock API."""
    with pretending(page) as opened:
        yield opened


def test_without_an_address_a_sync_says_what_is_not_set(stocked: Warehouse) -> None:
    """And not that some address of this machine does not answer."""
    job_id = stocked.enqueue("sync_stock")
    with worker_process(stocked.dsn, stocked.tmp, app=APP, environment=stocked.environment):
        reaches(stocked.db, job_id, "retrying")
    message = value(stocked.db, "select error ->> 'message' from pgqueue.attempts")

    assert message.startswith("WAREHOUSE_STOCK_URL is not set")


@pytest.fixture
def stocked(warehouse: Warehouse) -> Warehouse:
    """The warehouse with two products of acme."""
    warehouse.db.execute(
        "insert into warehouse.products (tenant_id, sku, name, price)"
        " values ('acme', 'A', 'Saw, long', 1.50), ('acme', 'B', 'Nail', 2)"
    )
    return warehouse


def test_pages_twice_are_there_once(stocked: Warehouse, api: Pretender) -> None:
    """Every page is asked for once per job, of the job's tenant, and what is unknown is named."""
    jobs = [stocked.enqueue("sync_stock") for _ in "12"]
    ended = stocked.run(*jobs, concurrency=1, WAREHOUSE_STOCK_URL=api.url)

    assert [one.counted for one in ended] == [(9, 0, 0), (0, 0, 9)]
    assert [(one.status, one.codes) for one in ended] == [("partial", ["unknown_product"])] * 2
    assert ended[0].errors[0]["item"] == {"row": 6, "field": "sku"}
    assert [(r.query["tenant"], r.query["page"]) for r in api.requests] == [
        ("acme", str(number)) for number in (1, 2, 3, 4, 5)
    ] * 2
    assert len(stocked.stock()) == 9


def test_a_paced_sync_goes_on_at_its_page(stocked: Warehouse, api: Pretender) -> None:
    """After 429 with a time, 503 and no JSON: pages that are stored are not asked for again."""
    job_id = stocked.enqueue("sync_stock")
    first = [page(_request(number)) for number in (1, 2)]
    api.next(first[0], too_many(1), first[1], broken(503), malformed())
    (ended,) = stocked.run(job_id, WAREHOUSE_STOCK_URL=api.url)
    pages = [request.query["page"] for request in api.requests]
    outcomes = "select error ->> 'code' from pgqueue.attempts where job_id = %s order by token"
    waits = row(
        stocked.db,
        """select extract(epoch from min(b.started_at) - min(a.ended_at))::float
           from pgqueue.attempts a join pgqueue.attempts b on b.job_id = a.job_id
           where a.attempt = 1 and b.attempt = 2""",
    )

    assert pages == ["1", "2", "2", "3", "3", "3", "4", "5"]
    assert column(stocked.db, outcomes, job_id) == [
        "retry_requested",
        "service_unavailable",
        "bad_answer",
    ]
    assert waits[0] > 0.9
    assert (ended.status, ended.attempt, ended.counted) == ("partial", 4, (9, 0, 0))


def _request(number: int) -> Any:
    return type("Request", (), {"query": {"page": str(number)}})


def test_a_killed_sync_goes_on_at_its_page(stocked: Warehouse, api: Pretender) -> None:
    """Killed with -9 while it stores the third page: that is asked for again, and counts once."""
    job_id = stocked.enqueue("sync_stock")
    with psycopg.connect(stocked.dsn) as holder:
        holder.execute(
            "insert into warehouse.stock_levels (tenant_id, sku, location, quantity)"
            " values ('acme', 'A', '3-a', 1)"
        )

        def in_the_middle() -> None:
            waits_for_lock(stocked.db, "warehouse.store_stock_levels")

        ended = survive_kill(
            stocked.dsn,
            stocked.db,
            stocked.tmp,
            APP,
            job_id,
            middle=in_the_middle,
            after=holder.rollback,
            environment={**stocked.environment, "WAREHOUSE_STOCK_URL": api.url},
        )

    assert [r.query["page"] for r in api.requests] == ["1", "2", "3", "3", "4", "5"]
    assert (ended.status, ended.attempt, ended.counted) == ("partial", 2, (9, 0, 0))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"items": []},
        {"items": {}, "next_page": None},
        {"items": [], "next_page": "2"},
        {"items": [], "next_page": 3},
        {"items": [], "next_page": 2},
        {"items": [], "next_page": 10**9},
        {"items": [{}] * 10_001, "next_page": None},
    ],
)
def test_an_answer_that_is_no_page_or_leads_back_is_refused(answer: Any) -> None:
    """A page that names itself, or an earlier one, as the next would never end."""
    with pytest.raises(BadAnswer, match="page 3"):
        read_page(answer, 3)


def test_a_report_is_a_file_of_the_tenant_and_its_url(stocked: Warehouse) -> None:
    """As CSV and as JSON Lines, of this tenant's rows only; nothing is left beside them."""
    stocked.db.execute(
        """insert into warehouse.products (tenant_id, sku, name, price)
           values ('other', 'A', 'x', 1);
           insert into warehouse.stock_levels (tenant_id, sku, location, quantity)
           values ('acme', 'A', 'here "1"', 4)"""
    )
    jobs = [stocked.enqueue("export_report", format=form) for form in ("csv", "jsonl")]
    ended = stocked.run(*jobs)
    urls = [value(stocked.db, "select result_url from pgqueue.job_status where id = %s", job)
            for job in jobs]  # fmt: skip
    files = [Path(unquote(urlsplit(url).path)) for url in urls]
    first = list(csv.DictReader(io.StringIO(files[0].read_text())))
    second = [json.loads(line) for line in files[1].read_text().splitlines()]

    assert [one.result["rows"] for one in ended] == [2, 2]
    assert [one.result["bytes"] for one in ended] == [file.stat().st_size for file in files]
    assert [(r["sku"], r["name"], r["location"], r["quantity"], r["value"]) for r in first] == [
        ("A", "Saw, long", 'here "1"', "4", "6.00"),
        ("B", "Nail", "", "0", "0.00"),
    ]
    assert [(r["sku"], r["location"], r["quantity"]) for r in second] == [
        ("A", 'here "1"', 4),
        ("B", None, 0),
    ]
    assert sorted(stocked.reports.rglob("*.*")) == sorted(files)


def test_a_repeated_report_is_one_file_and_a_killed_one_leaves_no_half(
    stocked: Warehouse,
) -> None:
    """Killed with -9 before its first row: the heir writes the file, and clears what was left."""
    job_id = stocked.enqueue("export_report")
    seen: list[Any] = []
    with psycopg.connect(stocked.dsn) as holder:
        holder.execute("lock table warehouse.stock_levels in access exclusive mode")

        def in_the_middle() -> None:
            waits_for_lock(stocked.db, "warehouse.stock_report")

        def when_dead() -> None:
            seen.append([path.suffix for path in stocked.reports.rglob("*.*")])
            holder.rollback()

        environment = {**stocked.environment, "WAREHOUSE_REPORT_URL": "https://cdn.example.com/r/"}
        ended = survive_kill(
            stocked.dsn,
            stocked.db,
            stocked.tmp,
            APP,
            job_id,
            middle=in_the_middle,
            after=when_dead,
            environment=environment,
        )
    url = value(stocked.db, "select result_url from pgqueue.job_status where id = %s", job_id)
    reports = list(stocked.reports.rglob("*.*"))

    assert (seen, ended.status, ended.attempt) == ([[".partial"]], "succeeded", 2)
    assert url == f"https://cdn.example.com/r/acme/stock-{job_id}.csv"
    assert [path.name for path in reports] == [f"stock-{job_id}.csv"]
    assert len(reports[0].read_text().splitlines()) == 3


def test_a_folder_that_cannot_be_written_fails_the_report(stocked: Warehouse) -> None:
    """It is tried again: an operator may mend it; nothing is left where the report would be."""
    stocked.reports.write_text("a file where a folder should be")
    job_id = stocked.enqueue("export_report")
    stocked.db.execute("update pgqueue.jobs set max_attempts = 1 where id = %s", (job_id,))
    (ended,) = stocked.run(job_id)

    assert (ended.status, ended.codes) == ("failed", ["NotADirectoryError"])
    assert list(stocked.root.iterdir()) == []
