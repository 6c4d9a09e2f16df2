"""TypeScript: strings in either quotes, template literals, tagged or not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgqueue.check.languages.literals import Text, escape, hole_end, joined, scanned
from pgqueue.check.model import PARAMETER, SPLICED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.check.model import Fragment

# A slash behind one of these begins a regular expression, which may hold quotes.
_NEXT = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|(?<=[(,=:\[!&|?{};])\s*/(?![/*])(?:\\.|[^/\\\n])+/|[\"'`]",
    re.DOTALL,
)
_TAG = re.compile(r"[\w)\]>]\s*$")
_QUOTES = frozenset({'"', "'", "`"})


def fragments(text: str) -> Iterator[Fragment]:
    """The SQL in string and template literals of a TypeScript file."""
    return joined(scanned(text, _NEXT, _QUOTES, _literal), text, "ts")


def _literal(text: str, start: int, mark: str) -> Text:
    literal = Text(start)
    # sql`...${x}` binds, `...${x}` pastes.
    tagged = _TAG.search(text[max(0, start - 80) : start]) is not None
    hole = PARAMETER if tagged and not re.search(r"\breturn\s*$", text[:start][-20:]) else SPLICED
    i = start + 1
    while i < len(text):
        if text[i] == mark:
            i += 1
            break
        if text[i] == "\\":
            ch, after = escape(text, i)
            literal.add(ch, i)
            i = after
            continue
        if mark == "`" and text.startswith("${", i):
            literal.add(hole, i)
            i = hole_end(text, i + 2)
            continue
        if text[i] == "\n" and mark != "`":
            break
        literal.add(text[i], i)
        i += 1
    literal.end = i
    return literal
