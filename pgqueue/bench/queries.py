"""The statements of the files in sql/ by name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

__all__ = ["statement"]

_HEADER = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def statement(name: str) -> str:
    """
    One statement or script.

    Args:
        name: As in its file.
    """
    return _statements()[name]


@cache
def _statements() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in (Path(__file__).parent / "sql").glob("*.sql"):
        parts = _HEADER.split(path.read_text("utf-8"))
        bodies = map(str.strip, parts[2::2])
        found |= dict(zip(parts[1::2], bodies, strict=True))
    return found
