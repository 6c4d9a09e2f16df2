from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from workers.engine.pricing import read_prices
from workers.http import BadAnswer

ASKED = {"ACME", "GOLD"}


def test_prices_are_exact_and_nobody_else_is_taken() -> None:
    """Strings and numbers alike; a symbol that was not asked for is dropped."""
    rows = [
        {"symbol": "ACME", "price": "12.50"},
        {"symbol": "GOLD", "price": Decimal("71.03")},
        {"symbol": "TULIP", "price": 1},
    ]
    prices = read_prices({"currency": "EUR", "prices": rows}, asked=ASKED, currency="EUR")

    assert prices == {"ACME": Decimal("12.50"), "GOLD": Decimal("71.03")}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"prices": []},
        {"currency": "USD", "prices": []},
        {"currency": "EUR", "prices": {}},
        {"currency": "EUR", "prices": [{"symbol": "ACME"}]},
        {"currency": "EUR", "prices": [{"symbol": 7, "price": "1"}]},
        {"currency": "EUR", "prices": [{"symbol": "ACME", "price": None}]},
        {"currency": "EUR", "prices": [{"symbol": "ACME", "price": "a lot"}]},
        {"currency": "EUR", "prices": [{"symbol": "ACME", "price": "NaN"}]},
        {"currency": "EUR", "prices": [{"symbol": "ACME", "price": "-1"}]},
        {"currency": "EUR", "prices": [{"symbol": "ACME", "price": "1e30"}]},
        {"currency": "EUR", "prices": [{"symbol": "ACME", "price": "0.000000001"}]},
    ],
)
def test_an_answer_that_is_no_price_list_is_refused(answer: Any) -> None:
    """Another attempt may get a better one: BadAnswer is retried."""
    with pytest.raises(BadAnswer, match="pricing API"):
        read_prices(answer, asked=ASKED, currency="EUR")
