from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from pgqueue import Fail
from workers.demo.price_file import COLUMNS, Price, Problem, data_file, read_prices

if TYPE_CHECKING:
    from pathlib import Path

HEADER = ",".join(COLUMNS)
GOOD = "HAM-1,Hammer,8.99,EUR,2025-01-01"


def written(folder: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    """A file with these rows."""
    path = folder / "prices.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return path


def test_a_good_row_becomes_a_price(tmp_path: Path) -> None:
    """Amounts keep their scale, dates are dates."""
    prices, problems = read_prices(written(tmp_path, GOOD))

    assert prices == [Price("HAM-1", "Hammer", Decimal("8.99"), "EUR", dt.date(2025, 1, 1))]
    assert problems == []


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("A-1,Saw,-8.99,EUR,2025-01-01", "negative_price"),
        ("A-1,Saw,8.99,EURO,2025-01-01", "unknown_currency"),
        ("A-1,Saw,8.99,EUR,2025-02-30", "bad_date"),
        ("A-1,,8.99,EUR,2025-01-01", "field_missing"),
        ("A-1,Saw,8.99", "field_missing"),
        ('A-1,Saw,"8,99",EUR,2025-01-01', "bad_price"),
        ("A-1,Saw,8.999,EUR,2025-01-01", "bad_price"),
        ("A-1,Saw,NaN,EUR,2025-01-01", "bad_price"),
        ("A-1,Saw,1e30,EUR,2025-01-01", "bad_price"),
        ("A-1,Saw, large,8.99,EUR,2025-01-01", "too_many_fields"),
        ("HAM-1,Hammer again,9.99,EUR,2025-01-01", "duplicate_sku"),
    ],
)
def test_a_bad_row_is_reported_by_line_and_the_rest_is_read(
    tmp_path: Path, row: str, code: str
) -> None:
    """The header is line 1; rows before and after the bad one are taken."""
    prices, problems = read_prices(written(tmp_path, GOOD, row, "SAW-9,Saw,1.00,EUR,2025-01-01"))

    assert [price.sku for price in prices] == ["HAM-1", "SAW-9"]
    assert [(problem.row, problem.code) for problem in problems] == [(3, code)]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    """Spreadsheets write one."""
    prices, _ = read_prices(written(tmp_path, GOOD, encoding="utf-8-sig"))

    assert [price.sku for price in prices] == ["HAM-1"]


def test_a_file_without_our_columns_fails_as_a_whole(tmp_path: Path) -> None:
    """No retry: another attempt reads the same file."""
    with pytest.raises(Fail, match="no column currency, price"):
        read_prices(written(tmp_path, "x", header="sku,name,valid_from"))


def test_a_file_in_another_encoding_fails_as_a_whole(tmp_path: Path) -> None:
    """Guessing would store garbage."""
    row = "HAM-2,Bügelsäge,8.99,EUR,2025-01-01"

    with pytest.raises(Fail, match="not CSV in UTF-8"):
        read_prices(written(tmp_path, row, encoding="latin-1"))


@pytest.mark.parametrize("name", ["../prices.py", "/etc/passwd", "..", "data/../../x"])
def test_a_path_out_of_the_data_folder_is_refused(name: str) -> None:
    """The payload comes from whoever may enqueue."""
    with pytest.raises(Fail, match="outside the data folder") as caught:
        data_file(name)

    assert caught.value.error.code == "file_not_allowed"


def test_a_file_that_is_not_there_is_named() -> None:
    """The item of the error says which."""
    with pytest.raises(Fail) as caught:
        data_file("missing.csv")

    assert (caught.value.error.code, caught.value.error.item) == ("file_missing", "missing.csv")


def test_the_file_that_ships_has_one_row_of_each_kind_of_mistake() -> None:
    """What the demo shows."""
    prices, problems = read_prices(data_file("prices.csv"))

    assert len(prices) == 283
    assert problems[0] == Problem(25, "negative_price", "price is below zero")
    assert [problem.code for problem in problems] == [
        "negative_price",
        "unknown_currency",
        "bad_date",
        "duplicate_sku",
        "field_missing",
        "bad_price",
        "too_many_fields",
    ]
