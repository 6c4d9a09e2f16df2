"""What the generator must know of a table, wherever it is read."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^",]+?))\s*(?:,|$)')


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column.

    Attributes:
        name: As in the catalogue, unquoted.
        type: As SQL, qualified where it is not built in.
        collation: As SQL, if it is not the type's own.
        computed: Generated, or identity always: nothing may be inserted.
        filled: A sequence or a function of its default fills it in, such as now().
        comparable: `is distinct from` compares what is stored; else its text is compared.
    """

    name: str
    type: str
    collation: str | None = None
    computed: bool = False
    filled: bool = False
    comparable: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """
    One table.

    Attributes:
        schema: None: not named, so found by the search_path of whoever creates the function.
        name: Unquoted.
        columns: In their order.
        keys: Sorted names of the columns of each plain unique index.
    """

    schema: str | None
    name: str
    columns: tuple[Column, ...]
    keys: frozenset[tuple[str, ...]]


def quoted(name: str) -> str:
    """An identifier, always in quotes: no keyword, no capital and no blank is special."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string literal."""
    escaped = text.replace("'", "''")
    return f" E'{escaped}'".replace("\\", "\\\\") if "\\" in text else f"'{escaped}'"


def names_of(text: str) -> list[str]:
    """
    `a,b,"C, d"` as names; a name that needs it stands in double quotes.

    Raises:
        ValueError: It is no such list.
    """
    found: list[str] = []
    end = 0
    while end < len(text):
        match = _NAME.match(text, end)
        if match is None:
            raise ValueError(f"{text!r} is no list of names like a,b")
        found.append(match[1].replace('""', '"') if match[1] else match[2])
        end = match.end()
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{text!r} names nothing, or a column twice")
    return found
