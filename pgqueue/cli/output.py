"""What commands print: aligned tables for people, JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import sys
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import click

from pgqueue.cli.base import state
from pgqueue.cli.terminal import clean, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Kind = Literal["text", "number", "time", "seconds", "percent", "flag"]

_GAP = "  "
_TEXT_MIN = 8  # a text column is not made narrower than this
_COLOURS = {
    "succeeded": "green",
    "partial": "yellow",
    "retrying": "yellow",
    "warn": "yellow",
    "failed": "red",
    "fail": "red",
    "dead": "red",
}


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column of a table.

    Attributes:
        key: In the row.
        header: Above it; by default the key with spaces.
        optional: Left out when no row has a value.
        only: Shown in rows of these statuses only.
    """

    key: str
    header: str = ""
    kind: Kind = "text"
    optional: bool = False
    only: frozenset[str] | None = None

    @property
    def title(self) -> str:
        """What stands above it."""
        return self.header or self.key.replace("_", " ")

    @property
    def right(self) -> bool:
        """Whether its cells are aligned to the right."""
        return self.kind in {"number", "seconds", "percent"}

    def value(self, row: Mapping[str, Any]) -> Any:
        """What *row* shows here."""
        return row.get(self.key) if self.only is None or row["status"] in self.only else None


def duration(seconds: float) -> str:
    """
    Seconds for people: `4 ms`, `12.3 s`, `1 m 15 s`, `3 h 02 m`, `2 d 05 h`, `30 d`.

    Args:
        seconds: May be negative.
    """
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else "1.0 s"  # noqa: PLR2004
    if seconds < 59.95:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes:02} m" if minutes else f"{hours} h"
    return f"{minutes} m {rest:02} s" if rest else f"{minutes} m"


def counted(n: int, noun: str) -> str:
    """`1 job`, `1,000 jobs`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def shown(value: Any, kind: Kind = "text") -> str:
    """
    One cell's text.

    Args:
        value: None is shown as nothing.
        kind: How.
    """
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no" if kind == "text" else ""
        case dt.datetime():
            return value.astimezone().isoformat(" ", "seconds")[:19]
        case dt.timedelta():
            return duration(value.total_seconds())
        case int() | float() | Decimal():
            return _number(value, kind)
        case list() | tuple() if not any(isinstance(item, (list, tuple, dict)) for item in value):
            return clean(", ".join(str(item) for item in value))
        case dict() | list() | tuple():
            return clean(json.dumps(value, default=str, ensure_ascii=False))
        case _:
            return clean(str(value))


def _number(value: float | Decimal, kind: Kind) -> str:
    if kind == "seconds":
        return duration(float(value))
    if kind == "percent":
        return f"{float(value):.0f} %"
    if isinstance(value, int):
        return f"{value:,}" if kind == "number" else str(value)
    return f"{float(value):,.1f}" if kind == "number" else f"{float(value):g}"


def width_of(text: str) -> int:
    """Terminal cells that *text* takes: two for East Asian wide characters, none for accents."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(ch) else 2 if unicodedata.east_asian_width(ch) in "WF" else 1
        for ch in text
    )


def _cut(text: str, width: int) -> str:
    if width_of(text) <= width:
        return text
    kept = text
    while kept and width_of(kept) > width - 1:
        kept = kept[:-1]
    return f"{kept}…"


def _fit(widths: list[int], columns: Sequence[Column], total: int | None) -> list[int]:
    # Text gives way, the widest first; numbers, times and ids are useless when cut.
    if total is None:
        return widths
    room = total - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room:
        candidates = [
            i for i, column in enumerate(columns) if _soft(column) and widths[i] > _TEXT_MIN
        ]
        if not candidates:
            break
        widest = max(candidates, key=lambda i: widths[i])
        widths[widest] -= 1
    return widths


def _soft(column: Column) -> bool:
    return column.kind == "text" and column.key not in {"id", "job_id", "status"}


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    width: int | None = None,
    colour: bool = False,
) -> str:
    """
    An aligned table; numbers to the right, a line per row.

    Args:
        rows: What to show.
        columns: Which keys, in this order.
        width: Cut text columns so that lines fit; None leaves them.
        colour: Colour statuses.
    """
    kept = [
        column
        for column in columns
        if not column.optional or any(column.value(row) not in (None, False) for row in rows)
    ]
    cells = [[shown(column.value(row), column.kind) for column in kept] for row in rows]
    widths = [
        max([width_of(column.title), *(width_of(line[i]) for line in cells)])
        for i, column in enumerate(kept)
    ]
    widths = _fit(widths, kept, width)
    lines = [_line([column.title for column in kept], kept, widths, colour=False)]
    lines += [_line(line, kept, widths, colour=colour) for line in cells]
    return "\n".join(lines)


def _line(
    cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], *, colour: bool
) -> str:
    parts = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        text = _cut(cell, width)
        pad = " " * (width - width_of(text))
        if colour and column.key == "status" and text in _COLOURS:
            text = click.style(text, fg=_COLOURS[text])
        parts.append(pad + text if column.right else text + pad)
    return _GAP.join(parts).rstrip()


def details(pairs: Sequence[tuple[str, str]]) -> str:
    """
    One thing, a line per fact; empty ones are left out.

    Args:
        pairs: Name and text.
    """
    told = [(name, text) for name, text in pairs if text]
    widest = max((len(name) for name, _ in told), default=0)
    return "\n".join(f"{name:<{widest}}  {text}" for name, text in told)


def terminal_width() -> int | None:
    """The width to fit tables in; None when the output goes elsewhere."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None


def coloured() -> bool:
    """Whether to colour: a terminal, and neither NO_COLOR nor TERM=dumb."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def as_json(value: Any) -> str:
    """One JSON document; indented in a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    return json.dumps(value, default=_leaf, ensure_ascii=False, indent=indent)


def _leaf(value: object) -> Any:
    match value:
        case dt.datetime() | dt.date():
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case UUID():
            return str(value)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case _:
            return str(value)


def emit_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, nothing: str = "Nothing."
) -> None:
    """
    Print a list: a table, or a JSON array of whole rows.

    Args:
        rows: What.
        columns: Of the table.
        nothing: Said on stderr instead of an empty table.
    """
    if state().json:
        click.echo(as_json(list(rows)))
    elif rows:
        click.echo(table(rows, columns, width=terminal_width(), colour=coloured()))
    else:
        note(nothing)


def emit(value: Any, text: str) -> None:
    """
    Print one fact.

    Args:
        value: For --json.
        text: For people.
    """
    click.echo(as_json(value) if state().json else printable(text))


def note(text: str) -> None:
    """Tell people something that is not the output, on stderr."""
    if not state().json:
        click.echo(printable(text), err=True)


@contextmanager
def progress(length: int | None, label: str) -> Iterator[Any]:
    """
    A progress bar on stderr, `bar.update(n)`; only in a terminal, and never with --json.

    Args:
        length: The whole; None if nobody knows.
        label: Before the bar.
    """
    if state().json or not sys.stderr.isatty():
        yield _NoBar()
        return
    bar: Any = click.progressbar(length=length or None, label=label, file=sys.stderr, show_pos=True)
    with bar:
        yield bar


class _NoBar:
    def update(self, n: int) -> None:
        """Nobody looks."""
