'''C#: regular, verbatim @"", raw """ """, interpolated $"" and their combinations.'''

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgqueue.check.languages.literals import Text, escape, hole_end, joined
from pgqueue.check.model import PARAMETER, SPLICED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.check.model import Fragment

_NEXT = re.compile(r'//|/\*|\'|[$@]*"')
# EF Core makes parameters of what is interpolated in the argument of these.
_BINDS = re.compile(
    r"(?:ExecuteSql|ExecuteSqlInterpolated|FromSql|FromSqlInterpolated|SqlQuery)(?:Async)?"
    r"(?:<[^<>]*>)?\s*\(\s*$|FormattableString\s+\w+\s*=\s*$"
)


def fragments(text: str) -> Iterator[Fragment]:
    """The SQL in string literals of a C# file."""
    return joined(_literals(text), text, "cs")


def _literals(text: str) -> Iterator[Text]:
    i = 0
    while (found := _NEXT.search(text, i)) is not None:
        start = found.start()
        match found[0]:
            case "//":
                i = _behind(text, "\n", start)
            case "/*":
                i = _behind(text, "*/", start + 2)
            case "'":
                i = start + (4 if text[start + 1 : start + 2] == "\\" else 3)
            case opening:
                literal = _literal(text, start, opening)
                yield literal
                i = literal.end


def _behind(text: str, mark: str, i: int) -> int:
    end = text.find(mark, i)
    return len(text) if end < 0 else end + len(mark)


def _literal(text: str, start: int, opening: str) -> Text:
    quotes = re.compile('"+').match(text, start + len(opening) - 1)
    assert quotes is not None
    count = len(quotes[0])
    dollars, verbatim = opening.count("$"), "@" in opening
    hole = PARAMETER if _BINDS.search(text[max(0, start - 120) : start]) else SPLICED
    raw = count >= 3 and not verbatim  # noqa: PLR2004  # three quotes open a raw literal
    if not raw and count == 2 and not verbatim:  # noqa: PLR2004  # the empty string
        return Text(start, quotes.end())
    mark = '"' * (count if raw else 1)
    literal = Text(start)
    i = start + len(opening) - 1 + len(mark)
    while i < len(text):
        if text.startswith(mark, i):
            if verbatim and text.startswith('""', i):
                literal.add('"', i)
                i += 2
                continue
            i += len(mark)
            break
        if dollars and text[i] in "{}":
            i = _brace(text, i, literal, max(1, dollars) if raw else 1, hole, raw=raw)
            continue
        if text[i] == "\\" and not raw and not verbatim:
            ch, after = escape(text, i)
            literal.add(ch, i)
            i = after
            continue
        if text[i] == "\n" and not raw and not verbatim:
            break  # a quote that opened no string
        literal.add(text[i], i)
        i += 1
    literal.end = i
    return literal


def _brace(text: str, i: int, literal: Text, width: int, hole: str, *, raw: bool) -> int:
    opening = "{" * width
    if not raw and text[i : i + 2] in {"{{", "}}"}:
        literal.add(text[i], i)
        return i + 2
    if text.startswith(opening, i):
        literal.add(hole, i)
        return hole_end(text, i + width, depth=width)
    literal.add(text[i], i)
    return i + 1
