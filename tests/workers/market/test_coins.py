"""workers.market.coins: what is right in an answer, and what is wrong."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from workers.environment import Environment
from workers.market import coins
from workers.market.settings import Settings

NOW = dt.datetime(2025, 1, 31, 12, 34, 56, 789, dt.UTC)
COIN: dict[str, Any] = {
    "id": "bitcoin",
    "symbol": "btc",
    "name": "Bitcoin",
    "market_cap_rank": 1,
    "current_price": Decimal("97250.10"),
    "market_cap": 1_925_000_000_000,
}


def settings(**variables: str) -> Settings:
    """As of an environment."""
    return Settings.read(Environment("", variables))


def ranked(*items: Any) -> coins.Rows:
    """Rows of a ranking."""
    return coins.rankings(items, day=NOW.date(), settings=settings())


def test_a_coin_becomes_a_row_with_exact_numbers() -> None:
    """With the day and the source."""
    found = ranked(COIN)

    assert found.rows == [
        {
            "asset_id": "bitcoin",
            "snapshot_date": dt.date(2025, 1, 31),
            "source": "coingecko",
            "symbol": "btc",
            "name": "Bitcoin",
            "rank": 1,
            "price": Decimal("97250.10"),
            "market_cap": Decimal(1_925_000_000_000),
        }
    ]
    assert (found.skipped, found.problems, found.processed) == (0, [], 1)


def test_a_coin_without_rank_and_one_seen_before_are_skipped() -> None:
    """While pages are read a coin can move to the next one."""
    found = ranked(
        COIN, {**COIN, "market_cap_rank": 2}, {**COIN, "id": "x", "market_cap_rank": None}
    )

    assert ([row["rank"] for row in found.rows], found.skipped) == ([1], 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": None}, "id is missing"),
        ({"id": ""}, "id is missing"),
        ({"id": 7}, "id is missing"),
        ({"symbol": "b\x00c"}, "symbol is too long, or holds what no text can"),
        ({"name": "x" * 201}, "name is too long, or holds what no text can"),
        ({"name": "\ud800"}, "name is too long, or holds what no text can"),
        ({"market_cap_rank": "1"}, "market_cap_rank is no rank"),
        ({"market_cap_rank": True}, "market_cap_rank is no rank"),
        ({"market_cap_rank": 0}, "market_cap_rank is no rank"),
        ({"market_cap_rank": 2**31}, "market_cap_rank is no rank"),
        ({"current_price": "97250"}, "current_price is no number"),
        ({"current_price": True}, "current_price is no number"),
        ({"current_price": Decimal(-1)}, "current_price is below zero"),
        ({"current_price": Decimal("1e400")}, "current_price is too large"),
        ({"market_cap": 10**50}, "market_cap is too large"),
        ({"market_cap": Decimal("1e-400")}, "market_cap has too many decimals"),
    ],
)
def test_a_coin_that_is_wrong_is_named_and_the_rest_is_taken(
    change: dict[str, Any], said: str
) -> None:
    """By its place in the answer."""
    found = ranked({**COIN, "id": "other"}, {**COIN, **change})

    assert [row["asset_id"] for row in found.rows] == ["other"]
    assert found.problems == [(2, said)]


@pytest.mark.parametrize("item", [None, 7, "bitcoin", ["bitcoin"]])
def test_what_is_no_coin_is_named(item: object) -> None:
    """Whatever it is."""
    assert ranked(item).problems == [(1, "this is no object")]


def test_a_coin_may_lack_price_and_market() -> None:
    """They are not known then."""
    (row,) = ranked({**COIN, "current_price": None, "market_cap": None}).rows

    assert (row["price"], row["market_cap"]) == (None, None)


def test_prices_are_of_the_minute_in_which_the_source_had_them() -> None:
    """Rounded down; without a time, of the job's."""
    answer = {
        "a": {"usd": Decimal("0.00002134"), "last_updated_at": 1_738_326_896},
        "b": {"usd": 1},
        "c": {"usd": None},
        "d": {"usd": 1, "last_updated_at": "now"},
        "e": {"usd": 1, "last_updated_at": 10**20},
        "f": [],
    }
    found = coins.prices(answer, ["a", "b", "c", "d", "e", "f", "g"], now=NOW, settings=settings())

    assert [(row["asset_id"], row["timestamp"], row["price"]) for row in found.rows] == [
        ("a", dt.datetime(2025, 1, 31, 12, 34, tzinfo=dt.UTC), Decimal("0.00002134")),
        ("b", dt.datetime(2025, 1, 31, 12, 34, tzinfo=dt.UTC), Decimal(1)),
    ]
    assert found.skipped == 2  # c has no price, g is not known
    assert found.problems == [
        ("d", "last_updated_at is no time"),
        ("e", "last_updated_at is no time"),
        ("f", "this is no object"),
    ]


def test_contracts_are_of_ranked_coins_on_wanted_chains_and_each_once() -> None:
    """Native coins have none; hexadecimal addresses have no case, others do."""
    items = [
        {"id": "a", "platforms": {"ethereum": "0xAB", "tron": "TxY", "base": "0xcd", "": ""}},
        {"id": "b", "platforms": {"ethereum": "0xab"}},
        {"id": "c", "platforms": {"ethereum": "0xff"}},
        {"id": "d", "platforms": {"ethereum": 7, "tron": "T" * 300}},
        {"id": "e", "platforms": None},
        {"id": None},
    ]
    found = coins.contracts(items, {"a", "b", "d", "e"}, settings(MARKET_CHAINS="ethereum,tron"))

    assert [tuple(row.values()) for row in found.rows] == [
        ("ethereum", "0xab", "a"),
        ("tron", "TxY", "a"),
    ]
    assert found.skipped == 4  # base is not wanted, a native coin, a's address again, c
    assert found.problems == [
        ("d", "ethereum is missing"),
        ("d", "tron is too long, or holds what no text can"),
        (6, "id is missing"),
    ]


def test_nonsense_in_the_environment_is_named() -> None:
    """Each variable by its own name."""
    for name, value in (
        ("TOP_COINS_COLLECTION_LIMIT", "0"),
        ("MARKET_API_URL", "coingecko"),
        ("MARKET_PAGE_SIZE", "251"),
        ("MARKET_SECONDS", "fast"),
    ):
        with pytest.raises(Exception, match=rf"^{name} is "):
            settings(**{name: value})


def test_the_key_of_the_api_is_in_no_text() -> None:
    """Settings are logged and shown in tracebacks."""
    read = settings(MARKET_API_KEY="s3cret", MARKET_API_KEY_HEADER="x-pro")

    assert read.service.headers == {"x-pro": "s3cret"}
    assert "s3cret" not in repr(read)
