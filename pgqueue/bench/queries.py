"""The statements of sql/queries.sql by name."""

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
        name: As in the file.
    """
    return _statements()[name]


@cache
def _statements() -> dict[str, str]:
    text = (Path(__file__).parent / "sql" / "queries.sql").read_text("utf-8")
    parts = _HEADER.split(text)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
