"""JSON Lines, kept as text: numbers come through exactly, and errors name their line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgqueue.cli.params import check_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK_CHARACTERS_MAX = 8_000_000  # a chunk becomes one parameter, and the server holds it twice


class BadLine(ValueError):
    """A line that holds no JSON object; the message names it."""


def chunks(lines: Iterable[str], size: int) -> Iterator[tuple[int, list[str]]]:
    """
    Group lines; empty ones are skipped.

    Args:
        lines: Each a JSON object.
        size: At most so many in a chunk; fewer when they are long.

    Yields:
        The number of the chunk's first line, and its lines.

    Raises:
        BadLine: Names the first one that holds no object. What came before it in its chunk is not
            yielded: a chunk goes in whole or not at all.
    """
    kept: list[str] = []
    characters = 0
    first = 1
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            text = line.strip()
            if not text:
                continue
            if not kept:
                first = number
            kept.append(_checked(text, number))
            characters += len(text)
            if len(kept) == size or characters > CHUNK_CHARACTERS_MAX:
                yield first, kept
                kept, characters = [], 0
    except UnicodeDecodeError:
        raise BadLine(f"after line {number}: not UTF-8 text") from None
    if kept:
        yield first, kept


def _checked(text: str, number: int) -> str:
    try:
        return check_object(text)
    except ValueError as error:
        raise BadLine(f"line {number}: {error}") from None


def wrapped(common: str, payload: str) -> str:
    """
    A job of one payload.

    Args:
        common: The JSON object of what all jobs share; not empty.
        payload: A JSON object, taken as it is.
    """
    return f'{common[:-1]}, "payload": {payload}}}'
