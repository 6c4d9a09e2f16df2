"""Texts that others wrote, made harmless for a terminal."""

from __future__ import annotations

import unicodedata

_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")  # includes the escapes that would drive a terminal


def clean(text: str) -> str:
    """Replace what would move the cursor or forge a line: cells hold what producers wrote."""
    if text.isprintable():
        return text
    return "".join(
        " " if ch in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" if _hidden(ch) else ch for ch in text
    )


def printable(text: str) -> str:
    """As `clean`, for a message of several lines."""
    return "\n".join(clean(line) for line in text.split("\n"))


def _hidden(ch: str) -> bool:
    return unicodedata.category(ch) in _CONTROL
