"""What is in a file: the columns of each kind, what their values look like, and where they go."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["KINDS", "Column", "Kind"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what a value must look like, and what is wrong if it does not."""

    name: str
    pattern: re.Pattern[str]
    code: str
    message: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """What is in a file: its columns, and where they go."""

    name: str
    columns: tuple[Column, ...]
    copy: str
    store: str
    matches: tuple[Callable[[str], object], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", tuple(c.pattern.match for c in self.columns))


# No control characters (NUL is one) and no halves of surrogate pairs, which JSON can spell.
_TEXT = r"[^\x00-\x1f\x7f\ud800-\udfff]"
_SKU = Column(
    "sku",
    re.compile(rf"(?=\S){_TEXT}{{1,64}}\Z"),
    "bad_sku",
    "sku has more than 64 characters, or control characters",
)

KINDS: Mapping[str, Kind] = {
    "products": Kind(
        "products",
        (
            _SKU,
            Column(
                "name",
                re.compile(rf"{_TEXT}{{1,200}}\Z"),
                "bad_name",
                "name has more than 200 characters, or control characters",
            ),
            Column(
                "price",
                re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,2})?\Z"),
                "bad_price",
                "price is no amount such as 12.50",
            ),
            Column(
                "unit",
                re.compile(rf"{_TEXT}{{1,20}}\Z"),
                "bad_unit",
                "unit has more than 20 characters, or control characters",
                default="piece",
            ),
        ),
        copy="copy pg_temp.import_products (line, sku, name, price, unit) from stdin",
        store="select warehouse.store_products(%s, %s, %s, %s, %s, %s, %s, %s)",
    ),
    "stock_levels": Kind(
        "stock_levels",
        (
            _SKU,
            Column(
                "location",
                re.compile(rf"{_TEXT}{{1,64}}\Z"),
                "bad_location",
                "location has more than 64 characters, or control characters",
            ),
            Column(
                "quantity",
                # integer: up to 2,147,483,647, with a digit to spare for nobody
                re.compile(r"[0-9]{1,9}\Z"),
                "bad_quantity",
                "quantity is no whole number from 0 to 999999999",
            ),
        ),
        copy="copy pg_temp.import_stock (line, sku, location, quantity) from stdin",
        store="select warehouse.store_stock_levels(%s, %s, %s, %s, %s, %s, %s, %s)",
    ),
}
