"""The engine through real worker processes: orders and valuations, exactly once."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgqueue import Client
from pgqueue.callback import verify
from pgqueue.migrate_app import migrate_app
from tests.support.applications import finishes, look, run_in_worker, survive_kill
from tests.support.receiver import receiving
from tests.support.sqljobs import column, refused, row, value
from tests.support.wait import waits_for_lock
from tests.support.web import Answer, malformed, pretending, too_many
from tests.support.workers import worker_process
from workers.engine.demo import prices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Connect
    from tests.support.sqljobs import Db
    from tests.support.web import Pretender

APP = "workers.engine"
CUSTOMER = "0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a"
OTHER = "0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6b"
ASSETS = """insert into engine.assets (symbol, name, quantity)
    values ('ACME', 'Acme shares', 1200), ('GOLD', 'Gold, gram', 311.5), ('COAL', 'Coal', 1)"""


@pytest.fixture
def engine(dsn: str, db: Db) -> Db:
    """The database with the application and its assets."""
    migrate_app(APP, dsn)
    db.execute(ASSETS)
    return db


@pytest.fixture
def api() -> Iterator[Pretender]:
    """The pricing API; it has no price of COAL."""
    with pretending(prices) as opened:
        yield opened


@pytest.fixture
def environment(api: Pretender) -> dict[str, str]:
    """Of the workers."""
    return {"ENGINE_PRICING_URL": api.url}


def order(reference: str, symbol: str = "ACME", **changes: Any) -> dict[str, Any]:
    """An order as .NET spells it."""
    lines = [{"Symbol": symbol, "Quantity": 10}, {"Symbol": "GOLD", "Quantity": 2.5}]
    given = {"Reference": reference, "CustomerId": CUSTOMER, "Currency": "EUR", "Lines": lines}
    return {**given, **changes}


def enqueue(db: Db, job_type: str, payload: dict[str, Any], **columns: Any) -> Any:
    """Insert a job through the inbox, as Dapper does: strings and no cast."""
    given = {"job_type": job_type, "payload": json.dumps(payload), **columns}
    marks = ", ".join(["%s"] * len(given))
    return value(
        db,
        f"insert into pgqueue.inbox ({', '.join(given)}) values ({marks}) returning id",
        *given.values(),
    )


def orders_in(db: Db) -> list[Any]:
    """Reference, total, number of lines."""
    return db.execute(
        """select o.reference, o.total::text, (select count(*) from engine.order_lines l
               where l.order_id = o.order_id)
           from engine.orders o order by o.reference"""
    ).fetchall()


def test_orders_and_values_twice_are_there_once(
    dsn: str, engine: Db, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Entities, metrics and result say what was created, and the second time that nothing was."""
    orders = {"Orders": [order("SO-1"), order("SO-2", "TULIP"), order("SO-3", "COAL")]}
    values = {"Currency": "EUR", "ValuedOn": "2026-01-31", "Symbols": ["ACME", "GOLD", "TULIP"]}
    jobs = [
        enqueue(engine, job_type, payload)
        for _ in range(2)
        for job_type, payload in (("create_orders", orders), ("calculate_asset_values", values))
    ]
    ended = run_in_worker(dsn, engine, tmp_path, APP, *jobs, environment=environment)
    created = engine.execute(
        """select r.entity_type, count(*), count(distinct r.entity_id) from pgqueue.job_results r
           group by 1 order by 1"""
    ).fetchall()

    assert [one.status for one in ended] == ["partial"] * 4
    assert sorted(one.counted for one in ended) == [(0, 0, 1), (0, 0, 2), (1, 0, 0), (2, 0, 0)]
    assert sorted(one.codes for one in ended) == [
        ["unknown_asset"],
        ["unknown_asset"],
        ["unknown_asset", "no_price"],
        ["unknown_asset", "no_price"],
    ]
    assert {one.metrics["custom"].keys() >= {"pricing_ms"} for one in ended} == {True}
    assert orders_in(engine) == [("SO-1", "302.58", 2)]
    assert created == [("Asset", 4, 2), ("Order", 1, 1)]
    values_stored = "select sum(value)::text, count(*) from engine.valuations"
    assert row(engine, values_stored) == ("37125.85", 2)


def test_the_application_hears_of_the_end_in_both_ways(
    dsn: str,
    engine: Db,
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    """NOTIFY wakes who listens, and the signed callback brings the result; the rows are there."""
    with receiving() as receiver:
        host = f"127.0.0.1:{receiver.port}"
        secret = str(value(engine, "select pgqueue.add_callback_secret(%s)", host))
        allowed = {
            "PGQUEUE_CALLBACK_HTTP": "1",
            "PGQUEUE_CALLBACK_PORTS": str(receiver.port),
            "PGQUEUE_CALLBACK_NETWORKS": "127.0.0.0/8",
        }
        options: dict[str, Any] = {
            "app": APP,
            "more_apps": ("pgqueue.callback",),
            "queues": ("default", "callbacks"),
            "environment": {**environment, **allowed},
        }
        with Client(dsn) as client, worker_process(dsn, tmp_path, **options):
            job_id = enqueue(
                engine,
                "create_orders",
                {"Orders": [order("SO-1")]},
                notify=True,
                callback_url=receiver.url,
            )
            heard = client.wait_for(job_id, timeout=30)
            (posted,) = receiver.gets(1)
    told = verify(posted.body, posted.headers, secret)

    assert (heard.status, heard.result["created"]) == ("succeeded", 1)
    assert (told["type"], told["data"]["result"]["created"]) == ("job.succeeded", 1)
    assert orders_in(engine) == [("SO-1", "302.58", 2)]


def test_a_worker_killed_with_its_rows_written_leaves_them_to_its_heir(
    dsn: str, engine: Db, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Killed between the writes and COMMIT: nothing is seen of the first attempt, and one order."""
    job_id = enqueue(engine, "create_orders", {"Orders": [order("SO-1")]})
    seen: list[Any] = []
    with psycopg.connect(dsn) as holder:
        # The foreign key of its second line waits for this lock: the order itself is written.
        holder.execute("select from engine.assets where symbol = 'GOLD' for update")

        def in_the_middle() -> None:
            waits_for_lock(engine, "engine.store_orders")

        def when_dead() -> None:
            holder.rollback()
            seen.extend(orders_in(engine))

        ended = survive_kill(
            dsn,
            engine,
            tmp_path,
            APP,
            job_id,
            middle=in_the_middle,
            after=when_dead,
            environment=environment,
        )

    assert (seen, ended.status, ended.attempt) == ([], "succeeded", 2)
    assert orders_in(engine) == [("SO-1", "302.58", 2)]
    assert column(engine, "select entity_type from pgqueue.job_results") == ["Order"]


def test_an_attempt_that_fails_leaves_nothing_and_the_next_one_comes_when_it_was_told(
    dsn: str, engine: Db, tmp_path: Path, api: Pretender, environment: dict[str, str]
) -> None:
    """429 with a time, then no price list: two attempts used up, the third stores it."""
    db, gate = engine, threading.Event()
    rows = [{"symbol": "ACME", "price": "12.50"}, {"symbol": "GOLD", "price": 71.03}]
    priced = Answer(200, {"currency": "EUR", "prices": rows}, gate=gate)
    api.next(too_many(1), malformed(), priced)
    job_id = enqueue(db, "create_orders", {"Orders": [order("SO-1")]})
    with worker_process(dsn, tmp_path, app=APP, environment=environment, poll_seconds=0.1):
        api.gets(3)
        between = (orders_in(db), look(db, job_id).status)
        gate.set()
        ended = finishes(db, job_id)
    codes = "select error ->> 'code' from pgqueue.attempts where job_id = %s order by token"

    assert between == ([], "running")
    assert column(db, codes, job_id) == ["retry_requested", "bad_answer"]
    assert (ended.status, ended.attempt) == ("succeeded", 3)


def test_bad_input_is_named_where_it_is(
    dsn: str, engine: Db, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Somebody else's reference, nothing but bad orders, no orders, and what is no list."""
    first = enqueue(engine, "create_orders", {"Orders": [order("SO-1")]})
    run_in_worker(dsn, engine, tmp_path, APP, first, environment=environment)
    given: list[Any] = [
        [order("SO-1", CustomerId=OTHER), order("SO-2")],
        [order("SO-3", CustomerId="nobody")],
        [],
        "all of them",
    ]
    jobs = [enqueue(engine, "create_orders", {"Orders": orders}) for orders in given]
    jobs.append(enqueue(engine, "calculate_asset_values", {"Currency": "euro"}))
    ended = run_in_worker(dsn, engine, tmp_path, APP, *jobs, environment=environment)

    assert [(one.status, one.codes[-1]) for one in ended] == [
        ("partial", "reference_taken"),
        ("failed", "all_orders_refused"),
        ("failed", "bad_payload"),
        ("failed", "payload_mismatch"),
        ("failed", "bad_currency"),
    ]
    assert ended[1].errors[0]["item"] == {
        "index": 0,
        "reference": "SO-3",
        "field": "CustomerId",
    }
    assert [reference for reference, _, _ in orders_in(engine)] == ["SO-1", "SO-2"]


def test_two_jobs_with_the_same_orders_create_each_once(engine: Db, connect: Connect) -> None:
    """The second waits for the first, which it cannot see yet, and then finds its orders."""
    lines = [{"symbol": "ACME", "quantity": 1, "unit_price": "2.5"}]
    orders = [
        {"reference": name, "customer_id": CUSTOMER, "currency": "EUR", "lines": lines}
        for name in ("SO-2", "SO-1")
    ]
    store = """select reference, is_new, same from engine.store_orders(gen_random_uuid(), %s)
        order by 1"""
    first, second = connect(autocommit=False), connect()
    created = first.execute(store, [json.dumps(orders)]).fetchall()
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(lambda: second.execute(store, [json.dumps(orders)]).fetchall())
        waits_for_lock(engine, "engine.store_orders")
        first.commit()
        found = there.result(20)

    assert created == [("SO-1", True, True), ("SO-2", True, True)]
    assert found == [("SO-1", False, True), ("SO-2", False, True)]
    assert orders_in(engine) == [("SO-1", "2.50", 1), ("SO-2", "2.50", 1)]


def test_a_disabled_job_type_is_refused_at_the_insert(
    dsn: str, engine: Db, tmp_path: Path, environment: dict[str, str]
) -> None:
    """An operator's decision reaches .NET as a constraint that it can branch on."""
    with worker_process(dsn, tmp_path, app=APP, environment=environment):
        engine.execute("select pgqueue.set_job_type('create_orders', p_enabled => false)")
        with refused("23514", constraint="jobs_job_type_enabled"):
            enqueue(engine, "create_orders", {"Orders": [order("SO-1")]})

    assert orders_in(engine) == []
