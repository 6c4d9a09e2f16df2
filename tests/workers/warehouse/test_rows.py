from __future__ import annotations

import io
from typing import Any

import pytest

from pgqueue import Fail
from workers.warehouse.kinds import KINDS
from workers.warehouse.rows import (
    LINE_BYTES_MAX,
    Format,
    Lines,
    Problem,
    read_header,
    read_rows,
)

HEADER = "sku,name,price,unit\n"
GOOD = "SAW,Saw,8.99,piece\n"
OBJECT = '{"sku": "SAW", "name": "Saw", "price": 8.99}\n'


def read(content: str | bytes, kind: str = "products") -> list[Any]:
    """Rows and problems of a file: CSV, or JSON Lines if it begins so."""
    data = content.encode() if isinstance(content, str) else content
    lines = Lines(io.BytesIO(data))
    form: Format = "jsonl" if data.lstrip(b"\xef\xbb\xbf").startswith(b"{") else "csv"
    header = read_header(lines, KINDS[kind]) if form == "csv" else []
    return list(read_rows(lines, KINDS[kind], form, header))


def told(found: list[Any]) -> list[Any]:
    """What stays of the problems: row, field and code."""
    return [(p.row, p.field, p.code) if isinstance(p, Problem) else p for p in found]


def test_a_quote_that_is_not_closed_is_named_with_the_lines_that_it_swallowed() -> None:
    """What follows is read again, also when it is the end of the file."""
    many = "".join(f"A-{n},Saw,1,piece\n" for n in range(10_000))
    found = read(f'{HEADER}B,"Nail,1,piece\n{many}')
    (problem,) = (one for one in found if isinstance(one, Problem))
    (last,) = read(HEADER + 'B,"Nail,1,piece\nC,Saw,1,piece\n')

    assert (problem.row, problem.code) == (2, "bad_csv")
    assert problem.message.startswith("not CSV, nor the lines up to ")
    assert found[-1] == (10_002, "A-9999", "Saw", "1", "piece")
    assert told([last]) == [(2, None, "bad_csv")]


def test_columns_are_found_by_name_in_any_order() -> None:
    """Capitals, spaces and columns of others do not matter; a unit that is left out is a piece."""
    found = read("Remark, Price ,SKU,name\nnew,8.9, SAW ,Saw\n")

    assert found == [(2, "SAW", "Saw", "8.9", "piece")]


def test_a_record_may_span_lines_and_is_counted_by_its_first() -> None:
    """As an editor counts; the header is line 1. A name holds no line break all the same."""
    found = read(HEADER + '"A-1","Saw\nlong",1,piece\n' + GOOD)

    assert told(found) == [(2, "name", "bad_name"), (4, "SAW", "Saw", "8.99", "piece")]


def test_a_byte_order_mark_is_no_part_of_the_first_column() -> None:
    """Spreadsheets write one; in JSON Lines it stands before the first brace."""
    assert len(read(b"\xef\xbb\xbf" + (HEADER + GOOD).encode())) == 1
    assert read(b"\xef\xbb\xbf" + OBJECT.encode()) == [(1, "SAW", "Saw", "8.99", "piece")]


@pytest.mark.parametrize(
    ("line", "field", "code"),
    [
        (",Saw,8.99,piece", "sku", "field_missing"),
        ("A-1,  ,8.99,piece", "name", "field_missing"),
        (f"{'A' * 65},Saw,8.99,piece", "sku", "bad_sku"),
        (f"A-1,{'a' * 201},8.99,piece", "name", "bad_name"),
        ("A-1,Saw,-1,piece", "price", "bad_price"),
        ("A-1,Saw,1e3,piece", "price", "bad_price"),
        ("A-1,Saw,NaN,piece", "price", "bad_price"),
        ("A-1,Saw,12345678901,piece", "price", "bad_price"),
        ("A-1,Saw,1.999,piece", "price", "bad_price"),
        ("A-1,Saw,٣,piece", "price", "bad_price"),
        (f"A-1,Saw,8.99,{'p' * 21}", "unit", "bad_unit"),
        ("A-1,S\0aw,8.99,piece", "name", "nul_character"),
        ("A-1,Saw, large,8.99,piece", None, "wrong_number_of_fields"),
        ("A-1,Saw", None, "wrong_number_of_fields"),
        ('A-1,"Saw"s,8.99,piece', None, "bad_csv"),
    ],
)
def test_a_wrong_line_is_named_and_the_next_one_is_read(
    line: str, field: str | None, code: str
) -> None:
    """Row, field and code, for programs; the message is for people."""
    found = read(f"{HEADER}{line}\n{GOOD}")

    assert told(found) == [(2, field, code), (3, "SAW", "Saw", "8.99", "piece")]


@pytest.mark.parametrize(
    ("line", "field", "code"),
    [
        ('{"sku": "A-1", "name": "Saw"}', "price", "field_missing"),
        ('{"sku": "A-1", "name": null, "price": 1}', "name", "field_missing"),
        ('{"sku": "A-1", "name": ["Saw"], "price": 1}', "name", "bad_type"),
        ('{"sku": true, "name": "Saw", "price": 1}', "sku", "bad_type"),
        ('{"sku": "A-1", "name": "Saw", "price": NaN}', "price", "bad_price"),
        ('{"sku": "A-1", "name": "S\\u0000aw", "price": 1}', "name", "nul_character"),
        ('{"sku": "A-1", "name": "\\ud83d", "price": 1}', "name", "bad_name"),
        ('{"sku": "A-1", "name": "Saw", "price": ' + "1" * 5000 + "}", "price", "bad_price"),
        ('{"sku": "A-1", ', None, "bad_json"),
        ("[" * 100_000, None, "bad_json"),
        ("7", None, "bad_json"),
    ],
)
def test_a_wrong_object_is_named_and_the_next_one_is_read(
    line: str, field: str | None, code: str
) -> None:
    """What JSON can spell and PostgreSQL or Python cannot hold is one row's problem."""
    found = read(f"{OBJECT}{line}\n\n{OBJECT}")
    good = ("SAW", "Saw", "8.99", "piece")

    assert told(found) == [(1, *good), (2, field, code), (4, *good)]


def test_numbers_stay_as_they_are_written() -> None:
    """10.50 is not 10.5, and an article may be called 4711."""
    found = read('{"sku": 4711, "name": "Saw", "price": 10.50}\n')

    assert found == [(1, "4711", "Saw", "10.50", "piece")]


def test_quantities_are_whole_numbers_that_an_integer_holds() -> None:
    """Nothing else about stock levels differs from products."""
    header = "sku,location,quantity\n"
    found = read(header + "A,B,0\nA,B,1.5\nA,B,-1\nA,B,9999999999\n", "stock_levels")

    assert told(found) == [
        (2, "A", "B", "0"),
        (3, "quantity", "bad_quantity"),
        (4, "quantity", "bad_quantity"),
        (5, "quantity", "bad_quantity"),
    ]


@pytest.mark.parametrize(
    ("header", "code", "field"),
    [
        ("sku,name", "missing_column", "price"),
        ("sku;name;price", "missing_column", "sku"),
        ("sku,name,price,sku", "duplicate_column", "sku"),
        ("", "missing_column", "sku"),
        ('"sku', "missing_column", "sku"),
    ],
)
def test_a_file_with_wrong_columns_is_refused_as_a_whole(
    header: str, code: str, field: str
) -> None:
    """Before a row is stored; the message says which columns are wanted."""
    with pytest.raises(Fail) as caught:
        read(f"{header}\n{GOOD}")

    assert (caught.value.error.code, caught.value.error.item) == (code, {"row": 1, "field": field})


def test_a_line_that_grew_too_long_since_the_scan_is_not_read_whole() -> None:
    """Whoever writes to a file that is being read gets no more than a line's worth of memory."""
    file = io.BytesIO(HEADER.encode() + b"x" * (2 * LINE_BYTES_MAX))
    lines = Lines(file)
    next(lines)
    with pytest.raises(Fail, match="line 2 is longer"):
        next(lines)

    assert file.tell() == len(HEADER) + LINE_BYTES_MAX + 1


def test_reading_goes_on_at_a_line_that_was_noted() -> None:
    """Bytes and lines of what was read; from there the rest is the same as in one go."""
    data = (HEADER + GOOD + '"A-1","Saw",1,piece\n' + GOOD).encode()
    lines = Lines(io.BytesIO(data))
    header = read_header(lines, KINDS["products"])
    whole = list(read_rows(lines, KINDS["products"], "csv", header))
    first = Lines(io.BytesIO(data))
    rows = read_rows(first, KINDS["products"], "csv", read_header(first, KINDS["products"]))
    begun = [next(rows), next(rows)]
    file = io.BytesIO(data)
    file.seek(first.checkpoint)
    rest = read_rows(Lines(file, first.checkpoint, first.line), KINDS["products"], "csv", header)

    assert [*begun, *rest] == whole
    assert (lines.checkpoint, lines.line) == (len(data), 4)
