"""What the parts of the checker hand to one another: fragments of SQL, statements, findings."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["error", "warning"]

# Stand in a fragment for what the source puts there at run time: private-use characters.
PARAMETER = "\ue000"  # bound by the driver: FormattableString, a tagged template
SPLICED = "\ue001"  # pasted into the text
COMPOSED = "\ue002"  # put in by psycopg.sql or str.format(): a name or a value, nobody knows


@dataclass(frozen=True, slots=True)
class Fragment:
    """
    SQL as a program would send it, and where each character of it stands in the file.

    Attributes:
        text: The SQL; PARAMETER and SPLICED stand for what is inserted at run time.
        where: For each character, its offset in the file.
        language: The file's suffix, as "cs".
    """

    text: str
    where: tuple[int, ...] | range
    language: str

    def part(self, start: int, end: int) -> Fragment:
        """The characters from *start* to *end*."""
        return Fragment(self.text[start:end], self.where[start:end], self.language)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing to repair.

    Attributes:
        path: The file.
        line: From 1.
        column: From 1.
        rule: Its id, as in `RULES`.
        level: "error" fails the command, "warning" does only with --strict.
        message: What is wrong.
        fix: What to write instead.
    """

    path: str
    line: int
    column: int
    rule: str
    level: Level
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding that knows its offset in the fragment and not yet its file."""

    offset: int
    rule: str
    message: str
    fix: str
    level: Level = "error"


@dataclass(frozen=True, slots=True)
class Source:
    """
    One file.

    Attributes:
        path: As given or found.
        text: All of it.
    """

    path: str
    text: str
    _lines: list[int] = field(default_factory=list)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1, of an offset."""
        if not self._lines:
            self._lines.append(0)
            self._lines.extend(i + 1 for i, ch in enumerate(self.text) if ch == "\n")
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line; empty outside of the file."""
        lines = self.text.split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else ""
