"""Where SQL text has strings, comments and bodies, and where its statements end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.check.model import Fragment

Kind = Literal["code", "string", "name", "body", "comment"]
Region = tuple[Kind, int, int]

_TAG = re.compile(r"\$(?:[A-Za-z_\x80-\ud7ff]\w*)?\$")
_STARTS = re.compile(r"(?<!:):(?:'\w+'|\"\w+\")|'|\"|--|/\*|\$")
_KEYWORDS = "with|insert|update|delete|merge|select|perform|notify|truncate|copy|call"
STATEMENT = re.compile(rf"\b(?:{_KEYWORDS})\b", re.IGNORECASE)
# Inside of a plpgsql body a statement begins here too (no keyword follows the THEN of a CASE).
_AFTER = re.compile(rf"\b(?:then|else|loop|begin)\s+(?=(?:{_KEYWORDS})\b)", re.IGNORECASE)


def regions(text: str) -> Iterator[Region]:
    """Cut SQL into code, strings, quoted names, dollar-quoted bodies and comments."""
    done = i = 0
    while (found := _STARTS.search(text, i)) is not None:
        start = found.start()
        if text[start] == ":":  # a variable of psql
            i = found.end()
            continue
        kind, end = _region(text, start)
        if end == start:  # a lone $
            i = start + 1
            continue
        if done < start:
            yield "code", done, start
        yield kind, start, end
        done = i = end
    if done < len(text):
        yield "code", done, len(text)


def _region(text: str, start: int) -> tuple[Kind, int]:
    match text[start]:
        case "'":
            escapes = (
                text[start - 1 : start].lower() == "e" and not text[start - 2 : start - 1].isalnum()
            )
            return "string", _quoted(text, start, "'", escapes=escapes)
        case '"':
            return "name", _quoted(text, start, '"', escapes=False)
        case "-":
            end = text.find("\n", start)
            return "comment", len(text) if end < 0 else end
        case "/":
            return "comment", _comment(text, start)
        case _:
            tag = _TAG.match(text, start)
            if tag is None or text[start - 1 : start].isalnum():
                return "code", start
            end = text.find(tag[0], tag.end())
            return "body", len(text) if end < 0 else end + len(tag[0])


def _quoted(text: str, start: int, mark: str, *, escapes: bool) -> int:
    i = start + 1
    while i < len(text):
        if escapes and text[i] == "\\":
            i += 2
        elif text[i] != mark:
            i += 1
        elif text[i + 1 : i + 2] == mark:
            i += 2
        else:
            return i + 1
    return len(text)


def _comment(text: str, start: int) -> int:
    depth, i = 1, start + 2
    while i < len(text) and depth:
        two = text[i : i + 2]
        depth += {"/*": 1, "*/": -1}.get(two, 0)
        i += 2 if two in {"/*", "*/"} else 1
    return i


def code_only(text: str) -> str:
    """*text* with strings, bodies and comments blanked: what regular expressions may read."""
    parts = [
        text[start:end] if kind in {"code", "name"} else " " * (end - start)
        for kind, start, end in regions(text)
    ]
    return "".join(parts)


def statements(fragment: Fragment) -> Iterator[Fragment]:
    """
    The statements of a fragment, those inside of dollar-quoted bodies too.

    Args:
        fragment: A script, a body, or one statement.
    """
    text = fragment.text
    code = code_only(text)
    ends = [m.end() for m in re.finditer(";", code)]
    begins = sorted({0, *ends, *(m.end() for m in _AFTER.finditer(code))})
    for begin, end in zip(begins, [*begins[1:], len(text)], strict=True):
        yield fragment.part(begin, end)
    for kind, start, end in regions(text):
        if kind == "body":
            tag = _TAG.match(text, start)
            assert tag is not None
            width = len(tag[0])
            yield from statements(fragment.part(start + width, max(start + width, end - width)))
