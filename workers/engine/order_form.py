"""
What an order must look like, item by item: a wrong one is reported, the others are created.

Pure functions without a queue or a database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID  # noqa: TC003 - the binder reads annotations at run time

from pgqueue import PayloadMismatch
from pgqueue.binding import compile_binder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["NewOrder", "OrderLine", "Problem", "check_orders"]

REFERENCE = re.compile(r"[^\x00-\x20\x7f\ud800-\udfff]{1,50}\Z")
CURRENCY = re.compile(r"[A-Z]{3}\Z")
SYMBOL = re.compile(r"[A-Z0-9.-]{1,20}\Z")
LINES_MAX = 500
# numeric(20, 8) of engine.order_lines
QUANTITY_MAX = Decimal(10) ** 12
QUANTITY_PLACES = 8


@dataclass(frozen=True, slots=True)
class OrderLine:
    """How much of what."""

    symbol: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class NewOrder:
    """
    One order of the payload; `CustomerId`, `customerId` and `customer_id` are the same.

    Attributes:
        reference: The application's name for it.
    """

    reference: str
    customer_id: UUID
    currency: str
    lines: list[OrderLine]


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Why one order is refused.

    Attributes:
        index: Its place in the payload, from 0.
        field: As the payload's path.
    """

    index: int
    reference: str | None
    field: str
    code: str
    message: str

    def item(self) -> dict[str, Any]:
        """What part of the payload it is about."""
        return {"index": self.index, "reference": self.reference, "field": self.field}


def check_orders(orders: Sequence[Any]) -> tuple[dict[int, NewOrder], list[Problem]]:
    """
    Sort out what can be created.

    Args:
        orders: NewOrder where the payload's item has that shape, else the item itself.

    Returns:
        The good ones by their place, and a problem for each of the others.
    """
    good: dict[int, NewOrder] = {}
    problems: list[Problem] = []
    references: set[str] = set()
    for index, order in enumerate(orders):
        problem = next(_problems(index, order, references), None)
        if problem is None:
            good[index] = order
            references.add(order.reference)
        else:
            problems.append(problem)
    return good, problems


def _problems(index: int, order: Any, references: set[str]) -> Iterator[Problem]:
    if not isinstance(order, NewOrder):
        yield _misshapen(index, order)
        return

    def problem(field: str, code: str, message: str) -> Problem:
        return Problem(index, order.reference[:50], field, code, message)

    if not REFERENCE.match(order.reference):
        message = "1 to 50 characters, without spaces and control characters"
        yield problem("reference", "bad_reference", message)
    if order.reference in references:
        message = "an earlier order of this job has this reference"
        yield problem("reference", "duplicate_reference", message)
    if not CURRENCY.match(order.currency):
        yield problem("currency", "bad_currency", "three capital letters, such as EUR")
    if not 1 <= len(order.lines) <= LINES_MAX:
        yield problem("lines", "bad_lines", f"an order has 1 to {LINES_MAX} lines")
    for number, line in enumerate(order.lines):
        if not SYMBOL.match(line.symbol):
            message = "1 to 20 capital letters, digits, dots and hyphens"
            yield problem(f"lines[{number}].symbol", "bad_symbol", message)
        if not _is_quantity(line.quantity):
            message = f"above 0 and below 10 to the 12th, with up to {QUANTITY_PLACES} decimals"
            yield problem(f"lines[{number}].quantity", "bad_quantity", message)


def _is_quantity(quantity: Decimal) -> bool:
    return (
        quantity.is_finite()
        and 0 < quantity < QUANTITY_MAX
        and quantity == round(quantity, QUANTITY_PLACES)
    )


def _one_order(order: NewOrder) -> NewOrder:
    return order


# The rules by which a payload is bound to a handler's parameters, for one item of it.
_binder = compile_binder(_one_order, "create_orders")


def _misshapen(index: int, order: Any) -> Problem:
    """Say why *order* has not the shape of one."""
    try:
        _binder.bind({"order": order})
    except PayloadMismatch as exc:
        path, what = exc.problems[0]
        field = path.removeprefix("order").removeprefix(".")
        return Problem(index, _reference_of(order), field, "bad_order", what)
    raise AssertionError("an order of the right shape is a NewOrder")


def _reference_of(order: Any) -> str | None:
    found = order.get("Reference", order.get("reference")) if isinstance(order, dict) else None
    return found[:50] if isinstance(found, str) else None
