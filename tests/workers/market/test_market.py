"""workers/market: what is collected, counted, retried and refused."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgqueue import load_app
from pgqueue.migrate_app import migrate_app
from pgqueue.testing import drain
from tests.support import web
from tests.support.applications import Ended, finishes, look, survive_kill
from tests.support.cli import Cli
from tests.support.psql import REPOSITORY
from tests.support.wait import eventually
from tests.support.workers import enqueue, worker_process
from workers.market.pretended import answering, sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Connect

    Db = psycopg.Connection[Any]

APP = "workers.market"
COLLECTIONS = ("top_coins_collection", "price_collection", "contract_addresses_collection")
KEYS = {
    "asset_rankings": "asset_id,snapshot_date,source",
    "asset_prices": "asset_id,timestamp,source",
    "asset_contracts": "chain,contract_address",
}


class Market:
    """The database, the service, and its coins."""

    def __init__(self, dsn: str, db: Db, service: web.Pretender, coins: list[Any]) -> None:
        self.dsn = dsn
        self.db = db
        self.service = service
        self.coins = coins

    @property
    def environment(self) -> dict[str, str]:
        """For worker processes."""
        return {"MARKET_API_URL": self.service.url, "MARKET_PAGE_SIZE": "5"}

    def collect(self, job_type: str = COLLECTIONS[0], **payload: Any) -> Ended:
        """Run one job in this process, one attempt; how it fares."""
        job_id = enqueue(self.db, job_type, **payload)
        drain(self.db, load_app(APP))
        return look(self.db, job_id)

    def page(self, number: int) -> web.Answer:
        """What the service answers when it is well."""
        query = {"per_page": "5", "page": str(number)}
        return answering(self.coins)(web.Request("GET", "/coins/markets", query, {}, b""))

    def rows(self) -> dict[str, list[Any]]:
        """All that is stored, versions of the rows included: what is not written keeps its own."""
        return {
            table: self.db.execute(
                f"select t.ctid, t.* from market.{table} t order by 2, 3"
            ).fetchall()
            for table in KEYS
        }


@pytest.fixture
def market(dsn: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    """The application, whose schedules do not tick, and a service that knows twelve coins."""
    migrate_app(APP, dsn)
    coins = copy.deepcopy(sample())
    with web.pretending(answering(coins)) as service:
        found = Market(dsn, db, service, coins)
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        for job_type in COLLECTIONS:
            monkeypatch.setenv(f"{job_type.upper()}_ENABLED", "false")
        yield found


def test_a_second_run_of_each_collection_changes_nothing_and_says_so(
    market: Market, tmp_path: Path
) -> None:
    """By a real worker: everything is created at first, and skipped afterwards."""
    counted: list[list[tuple[int, int, int]]] = []
    stored = []
    options: dict[str, Any] = {"app": APP, "environment": market.environment}
    with worker_process(market.dsn, tmp_path, **options) as worker:
        for _ in "ab":
            ended = [finishes(market.db, enqueue(market.db, name)) for name in COLLECTIONS]
            assert [one.status for one in ended] == ["succeeded"] * 3, ended
            counted.append([one.counted for one in ended])
            stored.append(market.rows())
        worker.says("12 processed, 0 created, 0 updated, 12 skipped in ")

    assert counted == [[(11, 0, 1), (11, 0, 0), (10, 0, 2)], [(0, 0, 12), (0, 0, 11), (0, 0, 12)]]
    assert stored[0] == stored[1]
    assert worker.said.count("nothing has changed") == 3


def test_what_has_changed_is_counted_as_updated(market: Market) -> None:
    """And only that is written."""
    market.collect()
    market.coins[0]["current_price"] = 98_000.5
    market.coins.append({**market.coins[0], "id": "other", "market_cap_rank": 13})
    ended = market.collect()

    assert ended.counted == (1, 1, 11)
    assert ended.result == {"created": 1, "updated": 1, "skipped": 11, "refused": 0, "requests": 3}
    assert market.db.execute(
        "select price, updated_at > created_at from market.asset_rankings"
        " where updated_at is not null"
    ).fetchall() == [(98_000.5, True)]


def test_the_limit_is_the_payloads_else_the_environments(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are asked for as far as needed, and no further."""
    monkeypatch.setenv("TOP_COINS_COLLECTION_LIMIT", "3")
    by_environment = market.collect()
    by_payload = market.collect(limit=7)

    assert (by_environment.counted, by_payload.counted) == ((3, 0, 0), (4, 0, 3))
    assert [dict(one.query)["per_page"] for one in market.service.requests] == ["3", "5", "5"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_limits_rates_is_asked_again_at_the_time_it_named(
    market: Market, status: int
) -> None:
    """On the second page: the attempt leaves nothing, the next one begins with the first page."""
    market.service.next(market.page(1), web.too_many(100, status=status))
    told = market.collect()
    (wait,) = market.db.execute(
        "select extract(epoch from due_at - clock_timestamp()) from pgqueue.scheduled"
    ).fetchone() or (0,)
    before = market.rows()["asset_rankings"]
    drain(market.db, load_app(APP), advance=True)
    (job_id,) = market.db.execute("select id from pgqueue.jobs").fetchone() or (None,)

    assert (told.status, told.counted) == ("retrying", (0, 0, 0))
    assert 90 < wait <= 100
    assert before == []
    assert look(market.db, job_id).counted == (11, 0, 1)
    assert len(market.service.requests) == 2 + 3


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (web.broken(), "service_unavailable"),
        (web.malformed(), "bad_answer"),
        (web.cut(), "bad_answer"),
        (web.Answer(body={"coins": []}), "bad_answer"),
    ],
)
def test_a_service_in_trouble_is_asked_again_with_backoff(
    market: Market, answer: web.Answer, code: str
) -> None:
    """The attempt's error says what it answered."""
    market.service.next(answer)
    told = market.collect()
    (error,) = market.db.execute("select error ->> 'code' from pgqueue.attempts").fetchone() or (
        "",
    )
    drain(market.db, load_app(APP), advance=True)

    assert (told.status, error) == ("retrying", code)
    assert len(market.rows()["asset_rankings"]) == 11


@pytest.mark.parametrize(
    ("answer", "code"), [(web.refused(401), "http_401"), (web.refused(404), "http_404")]
)
def test_a_request_that_is_refused_fails_the_job_at_once(
    market: Market, answer: web.Answer, code: str
) -> None:
    """A wrong key does not become right by waiting."""
    market.service.next(answer)
    ended = market.collect()

    assert (ended.status, ended.attempt, ended.codes) == ("failed", 1, [code])


def test_coins_that_are_wrong_make_the_job_partial(market: Market) -> None:
    """The rest is stored, and each wrong one is named."""
    market.coins[1]["current_price"] = "a lot"
    market.coins[2]["name"] = "\x00"
    ended = market.collect()

    assert (ended.status, ended.counted) == ("partial", (9, 0, 1))
    assert [(one["code"], one["item"], one["message"]) for one in ended.errors] == [
        ("bad_item", 2, "current_price is no number"),
        ("bad_item", 3, "name is too long, or holds what no text can"),
    ]


@pytest.mark.parametrize("job_type", COLLECTIONS[1:])
def test_what_needs_a_ranking_says_so_when_there_is_none(market: Market, job_type: str) -> None:
    """And asks the service for nothing."""
    ended = market.collect(job_type)

    assert (ended.status, ended.codes) == ("failed", ["no_ranking"])
    assert market.service.requests == []


@pytest.mark.parametrize(
    ("limit", "code"), [(0, "bad_limit"), (10_001, "bad_limit"), ("all", "payload_mismatch")]
)
def test_a_limit_that_makes_no_sense_fails_the_job(
    market: Market, limit: object, code: str
) -> None:
    """At once."""
    ended = market.collect(limit=limit)

    assert (ended.status, ended.codes) == ("failed", [code])


def test_a_coin_that_the_service_no_longer_knows_has_no_price(market: Market) -> None:
    """It is skipped."""
    market.collect()
    market.coins.pop(0)
    ended = market.collect("price_collection")

    assert (ended.status, ended.counted) == ("succeeded", (10, 0, 1))


def test_a_worker_killed_between_two_pages_leaves_nothing_of_its_attempt(
    market: Market, tmp_path: Path
) -> None:
    """The heir stores everything, and counts it once."""
    job_id = enqueue(market.db, "top_coins_collection")
    gate = threading.Event()
    market.service.next(market.page(1), web.held(gate))
    seen: list[Any] = []

    ended = survive_kill(
        market.dsn,
        market.db,
        tmp_path,
        APP,
        job_id,
        middle=lambda: market.service.gets(2),
        after=lambda: seen.append(market.rows()["asset_rankings"]),
        environment=market.environment,
    )
    gate.set()

    assert seen == [[]]
    assert (ended.status, ended.attempt, ended.counted) == ("succeeded", 2, (11, 0, 1))
    assert len(market.rows()["asset_rankings"]) == 11


def test_a_worker_killed_before_the_commit_leaves_nothing_either(
    market: Market, tmp_path: Path
) -> None:
    """All was fetched and stored, but not for others to see."""
    market.collect()
    job_id = enqueue(market.db, "price_collection")
    seen: list[Any] = []

    ended = survive_kill(
        market.dsn,
        market.db,
        tmp_path,
        APP,
        job_id,
        pause="before_commit",
        after=lambda: seen.append(market.rows()["asset_prices"]),
        environment=market.environment,
    )

    assert seen == [[]]
    assert (ended.attempt, ended.counted) == (2, (11, 0, 0))


def test_schedules_have_six_fields_and_the_environment_has_the_last_word(
    market: Market, tmp_path: Path
) -> None:
    """_SCHEDULE and _ENABLED; a tick of every second runs by itself, with _LIMIT."""
    environment = {
        **market.environment,
        "TOP_COINS_COLLECTION_ENABLED": "true",
        "TOP_COINS_COLLECTION_SCHEDULE": "* * * * * *",
        "TOP_COINS_COLLECTION_LIMIT": "4",
        "CONTRACT_ADDRESSES_COLLECTION_ENABLED": "",
    }
    tick = "select job_id from pgqueue.schedule_runs where outcome = 'enqueued' order by tick_at"
    with worker_process(market.dsn, tmp_path, app=APP, environment=environment, poll_seconds=0.2):
        eventually(lambda: market.db.execute(tick).fetchone(), seconds=30, what="a tick")
        (job_id,) = market.db.execute(tick).fetchone() or (None,)
        ended = finishes(market.db, job_id)
    schedules = market.db.execute(
        "select name, cron, status from pgqueue.schedule_status order by 1"
    )

    assert schedules.fetchall() == [
        ("contract_addresses_collection", "0 0 1 * * *", "active"),
        ("price_collection", "0 */15 * * * *", "disabled"),
        ("top_coins_collection", "* * * * * *", "active"),
    ]
    assert (ended.status, ended.counted) == ("succeeded", (4, 0, 0))


def test_nonsense_in_the_environment_ends_the_worker_at_its_start(
    market: Market, tmp_path: Path
) -> None:
    """Not each job at its own."""
    environment = {**market.environment, "MARKET_API_URL": "nowhere"}
    with worker_process(
        market.dsn,
        tmp_path,
        app=APP,
        environment=environment,
        until="MARKET_API_URL is 'nowhere', not an http or https address",
    ) as worker:
        code = worker.ends()

    assert code != 0


def test_a_disabled_job_type_is_refused_at_the_insert(market: Market) -> None:
    """With the constraint's name that the contract gives it."""
    market.collect()
    market.db.execute("""select pgqueue.register_job_types('[{"job_type": "price_collection"}]')""")
    market.db.execute("select pgqueue.set_job_type('price_collection', p_enabled => false)")

    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        enqueue(market.db, "price_collection")

    assert caught.value.diag.constraint_name == "jobs_job_type_enabled"


def test_a_workers_rights_suffice(market: Market, connect: Connect) -> None:
    """Those of pgqueue_worker and of sql/roles.sql; a producer has none here."""
    worker, producer = connect(role="pgqueue_worker"), connect(role="pgqueue_producer")
    row = """[{"chain": "c", "contract_address": "0x1", "asset_id": "a"}]"""
    call = "select * from market.upsert_asset_contracts(%s)"

    assert worker.execute(call, [row]).fetchone() == (1, 0, 0)
    assert worker.execute("select * from market.ranked_assets('x', 1)").fetchall() == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        producer.execute(call, [row])
    assert market.rows()["asset_contracts"] != []


@pytest.mark.parametrize("table", KEYS)
def test_the_functions_are_what_is_generated(table: str) -> None:
    """By `pgqueue upsert`, from the table's own definition."""
    folder = REPOSITORY / "workers" / "market" / "sql"
    tables, function = folder / "0001_market.sql", folder / "functions" / f"upsert_{table}.sql"
    words = ("--key", KEYS[table], "--touch", "updated_at", "--schema", str(tables))

    assert function.read_text("utf-8") == Cli("").text("upsert", f"market.{table}", *words)
