"""
From the lines of a file to rows that COPY takes, and problems for the rest.

Pure: files in, rows out. A row costs about 4 microseconds; nothing is kept of it.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

from pgqueue import Fail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .kinds import Column, Kind

__all__ = [
    "LINE_BYTES_MAX",
    "Format",
    "Lines",
    "Problem",
    "Row",
    "checked",
    "not_utf8",
    "read_header",
    "read_rows",
    "too_long",
]

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
    # Bound methods and one test per value: this loop is most of what a row costs.
    for matches, value in zip(kind.matches, values, strict=True):
        text = value.strip(" ") if type(value) is str else ""
        if not text or matches(text) is None:
            column = kind.columns[len(taken) - 1]
            if not _is_missing(value, text) or column.default is None:
                return _problem(row, column, value, text)
            text = column.default
        taken.append(text)
    return tuple(taken)


def _is_missing(value: Any, text: str) -> bool:
    return value is None or (type(value) is str and not text)


def _problem(row: int, column: Column, value: Any, text: str) -> Problem:
    if _is_missing(value, text):
        return Problem(row, column.name, "field_missing", f"{column.name} is empty")
    if type(value) is not str:
        message = f"{column.name} is neither text nor a number"
        return Problem(row, column.name, "bad_type", message)
    if "\0" in text:
        return Problem(row, column.name, "nul_character", f"{column.name} holds a NUL character")
    return Problem(row, column.name, column.code, column.message)
