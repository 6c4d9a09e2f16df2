"""
From the lines of a file to rows that COPY takes, and problems for the rest.

Pure: files in, rows out. A row costs about 4 microseconds; nothing is kept of it.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

from pgqueue import Fail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["KINDS", "LINE_BYTES_MAX", "Format", "Kind", "Lines", "Problem", "Row", "read_rows"]

Format = Literal["csv", "jsonl"]
# A million times what a row needs would be a mistake: a JSON document in one line, an image.
LINE_BYTES_MAX = 1024 * 1024

# As COPY takes it: the line, then the values of the kind's columns.
Row = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Why one row is refused.

    Attributes:
        row: Its first line in the file, as an editor counts; a CSV's header is line 1.
        field: The column, if it is about one.
    """

    row: int
    field: str | None
    code: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "row": self.row,
            "field": self.field,
            "code": self.code,
            "message": self.message,
        }


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


class Lines:
    """
    The lines of a file from a place on, counted.

    Args:
        file: Positioned at *checkpoint*.
        checkpoint: Bytes before it.
        line: Lines before it.

    Attributes:
        checkpoint: Bytes of all lines handed out so far.
        line: Their number.
    """

    def __init__(self, file: IO[bytes], checkpoint: int = 0, line: int = 0) -> None:
        self._readline = file.readline
        self.checkpoint = checkpoint
        self.line = line

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._readline(LINE_BYTES_MAX + 1)
        if not raw:
            raise StopIteration
        self.line += 1
        if len(raw) > LINE_BYTES_MAX:
            raise too_long(self.line)
        self.checkpoint += len(raw)
        try:
            return raw.decode()
        except UnicodeDecodeError as exc:
            raise not_utf8(self.line) from exc


def too_long(line: int) -> Fail:
    """What is said of a file with a line beyond LINE_BYTES_MAX."""
    return Fail(
        f"line {line} is longer than {LINE_BYTES_MAX} bytes: is this one JSON document,"
        " and not one object per line?",
        code="line_too_long",
        item={"row": line},
    )


def not_utf8(line: int) -> Fail:
    """What is said of a file in another encoding."""
    return Fail(
        f"line {line} is not UTF-8: save the file as UTF-8, with or without a byte order mark",
        code="bad_encoding",
        item={"row": line},
    )


def read_rows(
    lines: Lines, kind: Kind, form: Format, header: Sequence[str]
) -> Iterator[Row | Problem]:
    """
    Yield a row or a problem for each record; blank lines are passed over.

    Args:
        lines: Behind the header of a CSV.
        kind: What the file holds.
        form: How it is written.
        header: The columns of a CSV.

    Raises:
        Fail: As `Lines`.
    """
    if form == "csv":
        return _read_csv(lines, kind, header)
    return _read_json(lines, kind)


def read_header(lines: Lines, kind: Kind) -> list[str]:
    """
    Read the first line of a CSV.

    Raises:
        Fail: A column is missing or there twice.
    """
    first = next(lines, "").removeprefix("\ufeff")
    try:
        header = [name.strip().lower() for name in next(csv.reader([first], strict=True), [])]
    except csv.Error:
        header = []
    for column in kind.columns:
        if column.default is None and column.name not in header:
            raise Fail(
                f"the file has no column {column.name}: its first line must name"
                f" {', '.join(c.name for c in kind.columns)}, separated by commas",
                code="missing_column",
                item={"row": 1, "field": column.name},
                details={"found": [name[:100] for name in header[:100]]},
            )
        if header.count(column.name) > 1:
            raise Fail(
                f"the file has the column {column.name} twice",
                code="duplicate_column",
                item={"row": 1, "field": column.name},
            )
    return header


def _read_csv(lines: Lines, kind: Kind, header: Sequence[str]) -> Iterator[Row | Problem]:
    places = [header.index(c.name) if c.name in header else None for c in kind.columns]
    width = len(header)
    records = csv.reader(lines, strict=True)
    while True:
        row = lines.line + 1
        try:
            record = next(records)
        except StopIteration:
            return
        except csv.Error as exc:
            # The reader goes on behind the line where it noticed; a quote that is not closed
            # swallows what csv takes for one field, at most 131,072 characters.
            lost = f", nor the lines up to {lines.line}" if lines.line > row else ""
            yield Problem(row, None, "bad_csv", f"not CSV{lost}: {exc}")
            continue
        if len(record) == width:
            values = [None if place is None else record[place] for place in places]
            yield checked(row, kind, values)
        elif record:
            message = f"{len(record)} fields, the header has {width}: is a comma not quoted?"
            yield Problem(row, None, "wrong_number_of_fields", message)


def _read_json(lines: Lines, kind: Kind) -> Iterator[Row | Problem]:
    names = [column.name for column in kind.columns]
    for text in lines:
        row = lines.line
        # The byte order mark of the first line.
        text = text.removeprefix("\ufeff") if row == 1 else text  # noqa: PLW2901
        if not text.strip():
            continue
        try:
            found = _DECODER.decode(text)
        except (ValueError, RecursionError):
            yield Problem(row, None, "bad_json", "not a JSON object")
            continue
        if not isinstance(found, dict):
            yield Problem(row, None, "bad_json", "not a JSON object")
            continue
        yield checked(row, kind, [found.get(name) for name in names])


# Numbers stay as they are written: 10.50 keeps its scale, 1e3 is no amount, 4711 is a sku.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def checked(row: int, kind: Kind, values: Iterable[Any]) -> Row | Problem:
    """The row to store, or what is wrong with it."""
    taken: list[int | str] = [row]
    for column, value in zip(kind.columns, values, strict=True):
        text = value.strip(" ") if type(value) is str else value
        if not text and text is not False:
            text = column.default
            if text is None:
                return Problem(row, column.name, "field_missing", f"{column.name} is empty")
        elif type(text) is not str:
            message = f"{column.name} is neither text nor a number"
            return Problem(row, column.name, "bad_type", message)
        if column.pattern.match(text) is None:
            if "\0" in text:
                message = f"{column.name} holds a NUL character"
                return Problem(row, column.name, "nul_character", message)
            return Problem(row, column.name, column.code, column.message)
        taken.append(text)
    return tuple(taken)
