"""Files for psql: statements, backslash commands, COPY data, bodies between $$."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgqueue.check.lexing import code_only
from pgqueue.check.model import Fragment

if TYPE_CHECKING:
    from collections.abc import Iterator

# A query's end by \g, \gset, \gexec and the like; any other command up to its line's end.
_COMMAND = re.compile(r"\\(\w+|[!?;])[^\n]*")
_DATA = re.compile(
    r"\bfrom\s+stdin\b[^;]*;[^\n]*\n(.*?^\\\.[^\n]*$)", re.IGNORECASE | re.DOTALL | re.MULTILINE
)


def fragments(text: str) -> Iterator[Fragment]:
    r"""One fragment: the file, with what is psql's own blanked; \copy stays, as COPY."""
    chars = list(text)
    for data in _DATA.finditer(code_only(text)):
        _blank(chars, data.start(1), data.end(1))
    shown = "".join(chars)
    code = code_only(shown)
    for command in _COMMAND.finditer(code):
        if command[1] == "copy":
            chars[command.start()] = " "
            end = command.start() + len(command[0].rstrip())  # a comment may follow
            if end < len(chars):
                chars[end] = ";"
            continue
        _blank(chars, command.start(), command.end())
        if command[1].startswith("g"):
            chars[command.start()] = ";"
    yield Fragment("".join(chars), range(len(text)), "sql")


def _blank(chars: list[str], start: int, end: int) -> None:
    for i in range(start, end):
        if chars[i] != "\n":
            chars[i] = " "
