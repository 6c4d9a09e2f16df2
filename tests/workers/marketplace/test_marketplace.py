"""workers/marketplace: who may order, what runs first, what it costs, and that money adds up."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgqueue import load_app
from pgqueue.migrate_app import migrate_app
from pgqueue.testing import drain
from tests.support.applications import finishes, look, run_in_worker, survive_kill
from tests.support.psql import REPOSITORY
from tests.support.sqljobs import column, row, sqlstate_of, value
from tests.support.wait import eventually
from tests.support.workers import worker_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

    from tests.conftest import Connect

    Db = psycopg.Connection[Any]

APP = "workers.marketplace"
TEXT = {"text": "One two. Two three."}
REPORT = {"title": "Sales", "rows": [{"name": "Saws", "amount": "24.00"}]}
PRIMES = {"start": 0, "end": 1000}
ORDERS = {"text_statistics": TEXT, "render_report": REPORT, "prime_search": PRIMES}
COSTS = {"text_statistics": 5, "render_report": 20, "prime_search": 50}

# What was changed before, the order, the SQLSTATE, and what is said.
REFUSED: list[tuple[str, tuple[Any, ...], str, str]] = [
    ("select 1", ("mk_nobody", "text_statistics"), "MK001", "not known here"),
    ("select 1", (None, "text_statistics"), "MK001", "not known here"),
    ("select marketplace.revoke_api_key(1)", ("KEY", "text_statistics"), "MK001", "revoked"),
    ("select 1", ("KEY", "text_statistic"), "MK002", "'text_statistic' is sold"),
    ("select metering.remove_price('prime_search')", ("KEY", "prime_search"), "MK002", "sold"),
    (
        "select marketplace.set_job_type('prime_search', 't', 50, p_enabled => false)",
        ("KEY", "prime_search"),
        "23514",
        "disabled",
    ),
    (
        "select marketplace.set_job_type('prime_search', 't', 50, p_payload_bytes_max => 20)",
        ("KEY", "prime_search", '{"start": 0, "end": 9}'),
        "MK003",
        "has 22 bytes, prime_search takes at most 20",
    ),
    ("select 1", ("KEY", "text_statistics", "{}", 3), "PQ006", "priority is 3, not 0, 1 or 2"),
    ("select 1", ("KEY", "text_statistics", "{}", -1), "PQ006", "priority is -1"),
    ("select 1", ("KEY", "text_statistics", "{}", None), "PQ006", "priority is NULL"),
    ("select 1", ("KEY", "text_statistics", "{}", 1, ""), "PQ006", "reference has 0 characters"),
    ("select 1", ("KEY", "text_statistics", "{}", 1, "r" * 101), "PQ006", "has 101 characters"),
    ("select 1", ("KEY", "text_statistics", "[]"), "23514", "jobs_payload"),
    (
        "select metering.adjust('acme', 'EUR', -960, 'spent elsewhere')",
        ("KEY", "prime_search"),
        "PQ009",
        "has 40 EUR (minor units) available, prime_search needs 50",
    ),
]
# Type, payload, and the code of the error that ends the job.
SENSELESS: list[tuple[str, dict[str, Any], str]] = [
    ("text_statistics", {}, "payload_mismatch"),
    ("text_statistics", {"text": "..."}, "no_words"),
    ("text_statistics", {"text": "a", "top": 0}, "bad_top"),
    ("prime_search", {"start": 5, "end": 5}, "bad_range"),
    ("prime_search", {"start": -1, "end": 5}, "bad_range"),
    ("prime_search", {"start": 0, "end": 10_000_001}, "bad_range"),
    ("prime_search", {"start": 0, "end": 10**30}, "bad_range"),
    ("render_report", {"title": "", "rows": []}, "bad_title"),
    ("render_report", {"title": "t", "rows": [{"name": "a", "amount": "b"}]}, "no_rows"),
    ("render_report", {"title": "t", "rows": "all"}, "payload_mismatch"),
]


class Market:
    """A database with the application, customers acme, ox and zoo, and their keys."""

    def __init__(self, dsn: str, db: Db) -> None:
        self.dsn = dsn
        self.db = db
        self.keys = {
            name: str(value(db, "select marketplace.create_api_key(%s, 'test')", name))
            for name in ("acme", "zoo", "ox")
        }

    def submit(
        self, job_type: str, payload: Any = None, *more: Any, customer: str = "acme"
    ) -> UUID:
        """Order; the job's id. *more*: priority, reference."""
        holders = "".join(", %s" for _ in more)
        found: UUID = value(
            self.db,
            f"select marketplace.submit(%s, %s, %s{holders})",
            self.keys[customer],
            job_type,
            json.dumps(ORDERS.get(job_type) if payload is None else payload),
            *more,
        )
        return found

    def wallet(self, customer: str = "acme") -> tuple[Any, ...]:
        """Balance and pending."""
        return row(
            self.db,
            "select balance, pending from marketplace.my_wallet(%s)",
            self.keys[customer],
        )

    def deposit(self, amount: int, customer: str = "acme") -> None:
        """Cents."""
        self.db.execute("select metering.deposit(%s, 'EUR', %s)", [customer, amount])

    def charged(self) -> list[int]:
        """Every charge, in cents."""
        return [
            -amount
            for amount in column(
                self.db, "select amount from metering.wallet_entries where kind = 'charge'"
            )
        ]


@pytest.fixture
def market(dsn: str, db: Db) -> Iterator[Market]:
    """When the test ends, money must add up. zoo belongs to a tenant."""
    migrate_app(APP, dsn)
    db.execute(
        "select metering.set_customer('acme'), metering.set_customer('ox'),"
        " metering.set_customer('zoo', null, 'north')"
    )
    for job_type, cost in COSTS.items():
        db.execute("select marketplace.set_job_type(%s, 'A title', %s)", [job_type, cost])
    found = Market(dsn, db)
    found.deposit(1000)
    yield found
    assert db.execute("select * from metering.verify()").fetchall() == []
    assert db.execute("select * from pgqueue.verify()").fetchall() == []


def test_orders_are_worked_off_and_paid_for_once_however_often_they_are_sent(
    market: Market, tmp_path: Path
) -> None:
    """By a real worker, twice: the same reference is the same job."""
    market.deposit(100, "zoo")
    seen = []
    for _ in "ab":
        ids = [market.submit(name, None, 1, name) for name in ORDERS]
        ids.append(market.submit("render_report", None, 1, "render_report", customer="zoo"))
        ended = run_in_worker(market.dsn, market.db, tmp_path, APP, *ids)
        jobs = market.db.execute(
            "select job_type, status, charged from marketplace.my_jobs(%s)", [market.keys["acme"]]
        ).fetchall()
        seen.append((ids, ended, jobs, market.wallet(), market.wallet("zoo")))
    ids, ended, jobs, *wallets = seen[0]
    statistics, report, primes, _ = ended
    html = value(market.db, "select marketplace.my_report(%s, %s)", market.keys["acme"], ids[1])

    assert seen[0] == seen[1]
    assert {one.status for one in ended} == {"succeeded"}
    assert statistics.result["common"] == [["two", 2], ["one", 1], ["three", 1]]
    assert report.result == {
        "rows": 1,
        "refused": 0,
        "total": "24.00",
        "characters": len(html),
    }
    assert "<td>24.00</td>" in html
    assert primes.result == {"count": 168, "first": 2, "last": 997, "gap": 20}
    assert sorted(jobs) == [(name, "succeeded", COSTS[name]) for name in sorted(COSTS)]
    assert wallets == [(1000 - 75, 0), (100 - 20, 0)]
    assert column(market.db, "select tenant_id from pgqueue.jobs where id = any (%s)", ids) == [
        *(None, None, None),
        "north",
    ]


def test_jobs_start_in_the_order_of_their_priorities_and_then_of_their_arrival(
    market: Market, tmp_path: Path
) -> None:
    """0, then 1, then 2, by a real worker that does one at a time; 1 is the default."""
    given = [2, 1, 0, 2, 0, 1, 2, 0]
    ids = [market.submit("text_statistics", None, priority) for priority in given]
    ids.append(market.submit("text_statistics"))
    with worker_process(market.dsn, tmp_path, app=APP, concurrency=1):
        ended = [finishes(market.db, job_id).status for job_id in ids]
    started = column(market.db, "select job_id from pgqueue.finished order by started_at")

    assert ended == ["succeeded"] * 9
    assert [ids.index(job_id) for job_id in started] == [2, 4, 7, 1, 5, 8, 0, 3, 6]


def test_a_worker_killed_before_the_commit_has_charged_for_nothing(
    market: Market, tmp_path: Path
) -> None:
    """Nor stored; the heir does both, once."""
    job_id = market.submit("render_report")
    seen: list[Any] = []

    def note() -> None:
        reports = column(market.db, "select job_id from marketplace.reports")
        seen.append((market.wallet(), reports, market.charged()))

    ended = survive_kill(
        market.dsn, market.db, tmp_path, APP, job_id, pause="before_commit", after=note
    )
    note()

    assert (ended.status, ended.attempt) == ("succeeded", 2)
    assert seen == [((1000, 20), [], []), ((980, 0), [job_id], [20])]


def test_money_adds_up_when_workers_are_killed_among_many_orders(
    market: Market, tmp_path: Path, connect: Connect
) -> None:
    """Each success is charged for once, each failure never, whoever ran them."""
    report = market.submit("render_report", None, 0)
    ids = [
        market.submit("text_statistics", {"text": "..."} if number % 5 == 0 else TEXT, number % 3)
        for number in range(120)
    ]
    # Its document cannot be stored until this lock is gone: the worker dies in its transaction.
    holder = connect(autocommit=False)
    holder.execute("lock table marketplace.reports in share mode")
    survive_kill(
        market.dsn,
        market.db,
        tmp_path,
        APP,
        report,
        middle=lambda: eventually(lambda: len(market.charged()) > 10, what="10 charges"),
        after=holder.rollback,
        concurrency=2,
    )
    ended = run_in_worker(market.dsn, market.db, tmp_path, APP, report, *ids)

    assert ended[0].attempt == 2
    assert [one.status for one in ended].count("failed") == 24
    assert sorted(market.charged()) == [5] * 96 + [20]
    assert market.wallet() == (1000 - 96 * 5 - 20, 0)


def test_orders_that_cannot_be_taken_are_refused_where_they_are_sent(market: Market) -> None:
    """Each with its SQLSTATE, and what is wrong."""
    found = []
    for change, arguments, _, said in REFUSED:
        given = [market.keys["acme"] if one == "KEY" else one for one in arguments]
        holders = ", ".join("%s" for _ in given)
        with market.db.transaction(force_rollback=True):
            market.db.execute(change)
            with pytest.raises(psycopg.Error) as caught, market.db.transaction():
                market.db.execute(f"select marketplace.submit({holders})", given)
        message = str(caught.value)
        found.append((arguments, caught.value.sqlstate, said if said in message else message))

    assert found == [(arguments, state, said) for _, arguments, state, said in REFUSED]


def test_selling_a_type_leaves_its_attempts_and_times_to_whom_they_belong(market: Market) -> None:
    """To the handler, or to the operator who has taken them over."""
    managed = "select operator_managed from pgqueue.job_types where job_type = 'prime_search'"
    sell = "select marketplace.set_job_type('prime_search', 't', 50)"
    before = value(market.db, managed)
    market.db.execute("select pgqueue.set_job_type('prime_search', p_max_attempts => 7)")
    market.db.execute(sell)

    assert (before, value(market.db, managed)) == (False, True)


def test_an_order_can_wait_for_money(market: Market) -> None:
    """Where its type says hold: a deposit lets it go."""
    market.db.execute(
        "select marketplace.set_job_type('prime_search', 't', 50, p_on_insufficient => 'hold')"
    )
    job_id = market.submit("prime_search", customer="zoo")
    before = look(market.db, job_id).status
    market.deposit(50, "zoo")
    drain(market.db, load_app(APP))

    assert (before, look(market.db, job_id).status) == ("blocked", "succeeded")
    assert market.wallet("zoo") == (0, 0)


def test_orders_that_make_no_sense_fail_at_once_and_cost_nothing(market: Market) -> None:
    """The error's code says why."""
    ids = [market.submit(job_type, payload) for job_type, payload, _ in SENSELESS]
    drain(market.db, load_app(APP))
    ended = [look(market.db, job_id) for job_id in ids]

    assert [(one.status, one.attempt, one.codes[-1]) for one in ended] == [
        ("failed", 1, code) for _, _, code in SENSELESS
    ]
    assert (market.wallet(), market.charged()) == ((1000, 0), [])


def test_keys_are_kept_as_hashes_and_shown_once(market: Market) -> None:
    """No table holds one; two of a customer differ."""
    key = market.keys["acme"]
    stored = market.db.execute("select k::text, key_hash from marketplace.api_keys k").fetchall()
    other = value(market.db, "select marketplace.create_api_key('acme')")

    assert hashlib.sha256(key.encode()).digest() in [bytes(digest) for _, digest in stored]
    assert [text for text, _ in stored if key in text] == []
    assert len({other, *market.keys.values()}) == 4
    assert len(key) == 3 + 64
    assert sqlstate_of(market.db, "select marketplace.create_api_key('nobody')") == "PQ006"
    assert column(market.db, "select marketplace.revoke_api_key(1) from (values (1), (2)) v") == [
        True,
        False,
    ]


def test_a_customer_sees_his_own_and_nobody_elses(market: Market) -> None:
    """Page by page; a wrong key sees nothing, not even that there is nothing."""
    ids = [market.submit("render_report", None, 1) for _ in range(3)]
    drain(market.db, load_app(APP))
    acme, zoo = market.keys["acme"], market.keys["zoo"]
    jobs = "select job_id from marketplace.my_jobs(%s, 2, %s)"
    statement = "select kind, amount, balance from marketplace.my_statement(%s, 2)"

    assert column(market.db, jobs, acme, None) == [ids[2], ids[1]]
    assert column(market.db, jobs, acme, ids[1]) == [ids[0]]
    assert column(market.db, jobs, zoo, None) == []
    assert market.db.execute(statement, [acme]).fetchall() == [
        ("charge", -20, 940),
        ("charge", -20, 960),
    ]
    assert market.db.execute(statement, [zoo]).fetchall() == []
    with pytest.raises(psycopg.Error) as caught:
        market.db.execute("select marketplace.my_report(%s, %s)", [zoo, ids[0]])
    assert caught.value.sqlstate == "PQ003"
    for listing in ("my_jobs", "my_wallet", "my_statement"):
        assert sqlstate_of(market.db, f"select * from marketplace.{listing}('x')") == "MK001"


def test_references_are_each_customers_own(market: Market) -> None:
    """Two customers who use the same one have two jobs, and pay each for his."""
    market.deposit(5, "ox")
    ids = [
        market.submit("text_statistics", None, 1, "order-1", customer=customer)
        for customer in ("acme", "ox", "acme")
    ]

    assert ids[0] == ids[2] != ids[1]
    assert (market.wallet("acme"), market.wallet("ox")) == ((1000, 5), (5, 5))


def test_who_serves_customers_has_no_other_right(market: Market, connect: Connect) -> None:
    """The role marketplace_api, if it is there at the install: functions, no table, no job."""
    roles = (REPOSITORY / "workers" / "marketplace" / "sql" / "roles.sql").read_bytes()
    api = connect(autocommit=False)
    # Rolled back at the end: roles are the whole cluster's.
    api.execute("create role marketplace_api")
    api.execute(roles)
    api.execute("set local role marketplace_api")
    job_id = value(
        api,
        "select marketplace.submit(%s, 'text_statistics', %s)",
        market.keys["acme"],
        json.dumps(TEXT),
    )

    assert column(api, "select job_id from marketplace.my_jobs(%s)", market.keys["acme"]) == [
        job_id
    ]
    for statement in (
        "select * from marketplace.api_keys",
        "select * from marketplace.orders",
        "select * from metering.wallets",
        "insert into pgqueue.jobs (job_type) values ('text_statistics')",
        "select marketplace.create_api_key('acme')",
        "select marketplace.set_job_type('text_statistics', 't', 0)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), api.transaction():
            api.execute(statement.encode())
    api.rollback()
