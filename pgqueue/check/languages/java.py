"""Java: strings and text blocks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgqueue.check.languages.literals import Text, escape, joined, scanned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.check.model import Fragment

_NEXT = re.compile(r'//[^\n]*|/\*.*?(?:\*/|\Z)|\'(?:\\.|[^\'\\\n])+\'|"""|"', re.DOTALL)
_QUOTES = frozenset({'"', '"""'})


def fragments(text: str) -> Iterator[Fragment]:
    """The SQL in string literals of a Java file."""
    return joined(scanned(text, _NEXT, _QUOTES, _literal), text, "java")


def _literal(text: str, start: int, mark: str) -> Text:
    literal = Text(start)
    i = start + len(mark)
    while i < len(text):
        if text.startswith(mark, i):
            i += len(mark)
            break
        if text[i] == "\\":
            ch, after = escape(text, i)
            literal.add(ch, i)
            i = after
            continue
        if text[i] == "\n" and len(mark) == 1:
            break
        literal.add(text[i], i)
        i += 1
    literal.end = i
    return literal
