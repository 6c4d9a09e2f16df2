from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from pgqueue.jsonio import load_payload
from tests.support.cli import Cli
from tests.support.psql import REPOSITORY
from workers.engine import create_orders
from workers.engine.order_form import NewOrder, OrderLine, check_orders

CUSTOMER = "0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a"
GOOD = (
    f'{{"Reference": "SO-1", "CustomerId": "{CUSTOMER}", "Currency": "EUR",'
    ' "Lines": [{"Symbol": "ACME", "Quantity": 2.50}]}'
)


def orders_of(*items: str) -> list[Any]:
    """As the worker binds a payload's text."""
    payload = load_payload('{"Orders": [' + ", ".join(items) + "]}", exact=True)
    bound: list[Any] = create_orders.job.binder.bind(payload)["orders"]
    return bound


def test_an_order_as_dotnet_writes_it_becomes_an_order() -> None:
    """PascalCase, a Guid as text, a decimal that keeps its scale."""
    good, problems = check_orders(orders_of(GOOD))

    line = OrderLine("ACME", Decimal("2.50"))
    assert good == {0: NewOrder("SO-1", UUID(CUSTOMER), "EUR", [line])}
    assert (problems, str(good[0].lines[0].quantity)) == ([], "2.50")


@pytest.mark.parametrize(
    ("old", "new", "field", "code"),
    [
        ('"SO-1"', '""', "reference", "bad_reference"),
        ('"SO-1"', '"SO 1"', "reference", "bad_reference"),
        ('"EUR"', '"euro"', "currency", "bad_currency"),
        ('"ACME"', '"acme"', "lines[0].symbol", "bad_symbol"),
        ("2.50", "0", "lines[0].quantity", "bad_quantity"),
        ("2.50", "-1", "lines[0].quantity", "bad_quantity"),
        ("2.50", "1e12", "lines[0].quantity", "bad_quantity"),
        ("2.50", "0.000000001", "lines[0].quantity", "bad_quantity"),
        ('[{"Symbol": "ACME", "Quantity": 2.50}]', "[]", "lines", "bad_lines"),
        ("2.50", '"many"', "Lines[0].Quantity", "bad_order"),
        (CUSTOMER, "nobody", "CustomerId", "bad_order"),
        ('"Currency": "EUR", ', "", "currency", "bad_order"),
        ('"Currency"', '"Colour": 1, "Currency"', "Colour", "bad_order"),
    ],
)
def test_a_wrong_order_is_refused_by_field_and_the_next_one_is_taken(
    old: str, new: str, field: str, code: str
) -> None:
    """The problem names the order's place, its reference where it has one, and the field."""
    good, problems = check_orders(orders_of(GOOD.replace(old, new), GOOD))

    assert list(good) == [1]
    assert [(one.index, one.field, one.code) for one in problems] == [(0, field, code)]


@pytest.mark.parametrize("item", ["null", "7", '"SO-1"', "[]", "{}"])
def test_what_is_no_order_at_all_is_refused_alone(item: str) -> None:
    """Whatever stands in the array, its neighbour is taken."""
    good, problems = check_orders(orders_of(item, GOOD))

    assert list(good) == [1]
    assert [one.code for one in problems] == ["bad_order"]


def test_the_second_order_with_a_reference_is_refused() -> None:
    """Within one job; across jobs the database says whose it is."""
    good, problems = check_orders(orders_of(GOOD, GOOD))

    assert list(good) == [0]
    assert [(one.index, one.code) for one in problems] == [(1, "duplicate_reference")]


def test_the_dotnet_example_and_the_demo_enqueue_what_the_handlers_take() -> None:
    """`pgqueue check` reads the C# and the SQL: columns, job types and payloads fit."""
    folders = [REPOSITORY / "workers" / "engine" / name for name in ("data", "sql")]
    done = Cli("")("check", "--strict", "--app", "workers.engine", *folders)

    assert (done.exit_code, done.stdout) == (0, "")
