"""One statement made readable for sqlglot: placeholders of all drivers become $n."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgqueue.check.lexing import STATEMENT, code_only, regions
from pgqueue.check.model import COMPOSED, PARAMETER, SPLICED

if TYPE_CHECKING:
    from pgqueue.check.model import Fragment

_HOLES = f"[{PARAMETER}{SPLICED}{COMPOSED}]"
_EVERYWHERE = (
    rf"{_HOLES}|(?<![\w$])\$\d+|(?<![\w@])@[A-Za-z_]\w*|(?<![\w:]):(?:[A-Za-z_]\w*|'\w+'|\"\w+\")"
)
_PLACEHOLDERS = {
    "py": re.compile(rf"{_EVERYWHERE}|%\(\w+\)[sbt]|%[sbt](?!\w)|%%"),
    "java": re.compile(rf"{_EVERYWHERE}|\?(?!\?)"),
}
_OTHERS = re.compile(_EVERYWHERE)
_OURS = re.compile(r"(?<![\w.\"])\"?pgqueue\"?\s*(?:\.|,|;|$|\s)|pg_notify", re.IGNORECASE)
_ASSIGNED = re.compile(r":?=\s*(?=pgqueue\s*\.)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """
    Where a value comes in.

    Attributes:
        text: As it stood there.
        offset: In the fragment.
        quoted: Whether it stands inside of a string literal.
    """

    text: str
    offset: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """
    One statement.

    Attributes:
        sql: For sqlglot; placeholder n is `$n`.
        where: For each character of *sql*, its offset in the file.
        placeholders: By number.
        spliced: What is pasted into the text.
    """

    sql: str
    where: tuple[int, ...]
    language: str
    placeholders: dict[int, Placeholder]
    spliced: tuple[Placeholder, ...]

    def offset(self, index: int) -> int:
        """Where in the file the character of *sql* stands."""
        return self.where[min(max(index, 0), len(self.where) - 1)]


def prepared(fragment: Fragment) -> Statement | None:
    """
    Make a statement of a fragment; None if it has nothing to do with us.

    Args:
        fragment: What stands between two semicolons, or begins inside of a body.
    """
    text = fragment.text
    code = code_only(text)
    if not _OURS.search(code):
        return None
    begins = STATEMENT.search(code)
    assigned = _ASSIGNED.search(code)
    if assigned is not None and (begins is None or assigned.start() < begins.start()):
        return _substituted(fragment.part(assigned.end(), len(text)), "select ")
    if begins is None:
        return None
    if begins[0].lower() == "perform":
        return _substituted(fragment.part(begins.end(), len(text)), "select")
    return _substituted(fragment.part(begins.start(), len(text)), "")


def _substituted(fragment: Fragment, prefix: str) -> Statement:
    pattern = _PLACEHOLDERS.get(fragment.language, _OTHERS)
    first = fragment.where[0] if len(fragment.where) else 0
    parts: list[str] = [prefix]
    where: list[int] = [first] * len(prefix)
    found: dict[int, Placeholder] = {}
    spliced: list[Placeholder] = []

    def keep(start: int, end: int) -> None:
        parts.append(fragment.text[start:end])
        where.extend(fragment.where[start:end])

    for kind, start, end in regions(fragment.text):
        if kind == "comment":
            parts.append(" " * (end - start))
            where.extend(fragment.where[start:end])
            continue
        done = start
        for match in pattern.finditer(fragment.text, start, end):
            inside = kind in {"string", "name", "body"}
            if inside and match[0] not in {PARAMETER, SPLICED, COMPOSED}:
                continue
            keep(done, match.start())
            done = match.end()
            offset = fragment.where[match.start()]
            one = Placeholder(match[0], offset, quoted=inside)
            if match[0] == SPLICED or (inside and match[0] == PARAMETER):
                spliced.append(one)
            if match[0] == "%%":
                text = "%"
            elif inside:
                text = "{}" if match[0] == COMPOSED else "_"  # '{}' is an empty object
            else:
                number = len(found) + 1
                found[number] = one
                text = f"${number} "  # sqlglot takes $1,$ for a dollar quote
            parts.append(text)
            where.extend([offset] * len(text))
        keep(done, end)
    return Statement(
        "".join(parts), tuple(where) or (first,), fragment.language, found, tuple(spliced)
    )
