"""What the lexers share: literals with the offset of each character, and joining them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgqueue.check.model import SPLICED, Fragment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_SIMPLE = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "0": " ",
    "s": " ",
    "e": " ",
    "\n": " ",
}
_HEX = re.compile(r"x[0-9A-Fa-f]{1,4}|u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]+\}|U[0-9A-Fa-f]{8}")
# Between two literals that make one text: `+`, or `+ something +`.
_JOIN = re.compile(r"\s*\+\s*")
_JOIN_VALUE = re.compile(r"\s*\+\s*[\w.\[\]()?!]+\s*\+\s*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# What a text must begin with to be taken for SQL.
_SQL = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/|[(])*"
    r"(?:with|insert|update|delete|merge|select|perform|notify|truncate|copy|call|do|create|begin|explain)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(slots=True)
class Text:
    """
    A literal as it is read.

    Attributes:
        start: Offset of its first character in the file, the opening quote's or prefix's.
        end: Behind its last.
    """

    start: int
    end: int = 0
    chars: list[str] = field(default_factory=list)
    where: list[int] = field(default_factory=list)

    def add(self, ch: str, offset: int) -> None:
        """One more character."""
        self.chars.append(ch)
        self.where.append(offset)


def escape(text: str, i: int) -> tuple[str, int]:
    """
    The character that a backslash at *i* makes, and the offset behind it.

    Args:
        text: The file.
        i: Of the backslash.
    """
    code = _HEX.match(text, i + 1)
    if code is not None:
        number = int(code[0].strip("xuU{}"), 16)
        return (chr(number) if 0 < number < 0x110000 else " "), code.end()  # noqa: PLR2004
    follows = text[i + 1 : i + 2]
    return _SIMPLE.get(follows, follows or " "), i + 2


def hole_end(text: str, i: int, *, depth: int = 1) -> int:
    """
    Behind the brace that closes what is spliced in.

    Args:
        text: The file.
        i: Behind the opening brace.
        depth: How many braces are open.
    """
    while i < len(text) and depth:
        match text[i]:
            case "{":
                depth += 1
            case "}":
                depth -= 1
            case '"' | "'" as mark:
                end = text.find(mark, i + 1)
                i = i if end < 0 or "\n" in text[i:end] else end
        i += 1
    return i


def scanned(
    text: str,
    tokens: re.Pattern[str],
    quotes: frozenset[str],
    read: Callable[[str, int, str], Text],
) -> Iterator[Text]:
    """
    Each literal of a file, comments and the like stepped over.

    Args:
        text: The file.
        tokens: Finds what opens a literal, and what may hold a quote that opens none.
        quotes: What of that opens a literal.
        read: The literal that begins at an offset with such a quote.
    """
    i = 0
    while (found := tokens.search(text, i)) is not None:
        i = found.end()
        if found[0] in quotes:
            literal = read(text, found.start(), found[0])
            yield literal
            i = literal.end


def joined(texts: Iterable[Text], source: str, language: str) -> Iterator[Fragment]:
    """
    Literals as fragments: those joined by `+` are one, those that hold no SQL are left out.

    Args:
        texts: In the order of the file.
        source: The file.
        language: Its suffix.
    """
    current: Text | None = None
    for text in texts:
        if current is None:
            current = text
            continue
        between = _COMMENT.sub(" ", source[current.end : text.start])
        if _JOIN.fullmatch(between):
            pass
        elif _JOIN_VALUE.fullmatch(between):
            current.add(SPLICED, current.end)
        else:
            yield from _fragment(current, language)
            current = text
            continue
        current.chars += text.chars
        current.where += text.where
        current.end = text.end
    if current is not None:
        yield from _fragment(current, language)


def _fragment(text: Text, language: str) -> Iterator[Fragment]:
    sql = "".join(text.chars)
    if "pgqueue" in sql.lower() and _SQL.match(sql):
        yield Fragment(sql, tuple(text.where), language)
