"""
Reading a file of prices: what is right in it, and what is wrong with the rest, row by row.

Pure functions without a queue: they are tested with a file and nothing else.
"""

from __future__ import annotations

import csv
import datetime as dt
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from pgqueue import Fail

if TYPE_CHECKING:
    from collections.abc import Container

DATA = Path(__file__).resolve().parent / "data"
COLUMNS = ("sku", "name", "price", "currency", "valid_from")
CURRENCIES = frozenset({"CHF", "EUR", "GBP", "PLN", "SEK", "USD"})
# numeric(12, 2) of demo.prices
PRICE_MAX = Decimal("9999999999.99")


@dataclass(frozen=True, slots=True)
class Price:
    """One row of demo.prices."""

    sku: str
    name: str
    price: Decimal
    currency: str
    valid_from: dt.date


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Why one row was left out.

    Attributes:
        row: Its line in the file, as an editor counts; the header is line 1.
    """

    row: int
    code: str
    message: str


class RowRefused(ValueError):
    """A row that cannot be taken; `code` is the stable name of the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def data_file(name: str) -> Path:
    """
    Path of a file in the data folder.

    Raises:
        Fail: It is not there, or *name* leads out of the folder. Another attempt would not help.
    """
    path = (DATA / name).resolve()
    if not path.is_relative_to(DATA):
        raise Fail("the file is outside the data folder", code="file_not_allowed", item=name)
    if not path.is_file():
        raise Fail("there is no such file in the data folder", code="file_missing", item=name)
    return path


def read_prices(path: Path) -> tuple[list[Price], list[Problem]]:
    """
    Read every row; a bad one never stops the rest.

    Raises:
        Fail: The file as a whole cannot be read as CSV with our columns.
    """
    prices: dict[str, Price] = {}
    problems: list[Problem] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="rest", strict=True)
            missing = set(COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise Fail(f"the file has no column {', '.join(sorted(missing))}", code="no_column")
            for row in reader:
                try:
                    price = _price(row, known=prices)
                    prices[price.sku] = price
                except RowRefused as exc:
                    problems.append(Problem(reader.line_num, exc.code, str(exc)))
    except (UnicodeDecodeError, csv.Error) as exc:
        raise Fail(f"the file is not CSV in UTF-8: {exc}", code="unreadable") from exc
    return list(prices.values()), problems


def _price(row: dict[str, str | None], *, known: Container[str]) -> Price:
    if "rest" in row:
        raise RowRefused("too_many_fields", "more fields than columns: is a comma not quoted?")
    values = {column: (row[column] or "").strip() for column in COLUMNS}
    for column, value in values.items():
        if not value:
            raise RowRefused("field_missing", f"{column} is empty")
    if values["sku"] in known:
        raise RowRefused("duplicate_sku", "the sku stands in an earlier row")
    if values["currency"] not in CURRENCIES:
        raise RowRefused("unknown_currency", "currency is none that we trade in")
    return Price(
        values["sku"],
        values["name"],
        _amount(values["price"]),
        values["currency"],
        _date(values["valid_from"]),
    )


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise RowRefused("bad_price", "price is not a number such as 12.50") from None
    if not amount.is_finite() or amount > PRICE_MAX or amount != round(amount, 2):
        raise RowRefused("bad_price", "price has more than two decimals, or is too large")
    if amount < 0:
        raise RowRefused("negative_price", "price is below zero")
    return amount


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise RowRefused("bad_date", "valid_from is no date such as 2025-01-31") from None
