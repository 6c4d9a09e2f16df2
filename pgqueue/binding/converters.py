"""What every converter is made of: a function from JSON to Python, and the way it says no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgqueue.errors import PROBLEMS_MAX
from pgqueue.jsonio import clean_text, json_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KEY_CHARACTERS_MAX = 100


class Mismatch(Exception):
    """A value does not fit; paths are relative to that value (`""`, `.price`, `[3].price`)."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__(problems)
        self.problems = problems

    @classmethod
    def at(cls, path: str, what: str) -> Mismatch:
        """Build one with a single problem."""
        return cls([(path, what)])


@dataclass(frozen=True, slots=True)
class Converter:
    """
    One compiled annotation.

    Attributes:
        convert: From the decoded JSON value to the Python value; raises Mismatch.
        expects: What it takes, with its article, for messages.
        takes: The JSON container that it takes, list or dict, if it takes one.
    """

    convert: Callable[[Any], Any]
    expects: str
    takes: type | None = None


def wrong_type(value: object, expects: str) -> Mismatch:
    """Refuse a value of another JSON type."""
    return Mismatch.at("", f"is {json_type(value)}, not {expects}")


def wrong_value(value: object, expects: str) -> Mismatch:
    """Refuse a value of the right JSON type. The message never quotes it: it reaches the logs."""
    return Mismatch.at("", f"is {json_type(value)}, but not {expects}")


def collect(trials: Iterable[tuple[str, Callable[[Any], Any], Any]]) -> Mismatch:
    """
    Convert again what failed as a whole, to report every part that is wrong.

    Args:
        trials: Triples of path, converter function and value.
    """
    problems: list[tuple[str, str]] = []
    for path, convert, value in trials:
        try:
            convert(value)
        except Mismatch as exc:
            problems += prefixed(path, exc)
            if len(problems) >= PROBLEMS_MAX:
                break
    return Mismatch(problems[:PROBLEMS_MAX])


def prefixed(path: str, mismatch: Mismatch) -> list[tuple[str, str]]:
    """Return the problems of a part as problems of the whole."""
    return [(f"{path}{rest}", what) for rest, what in mismatch.problems]


def key_path(key: str) -> str:
    """Write a key as a step of a path. Keys come from the payload: printable and short."""
    text = clean_text(key, KEY_CHARACTERS_MAX)
    return f".{text}" if text.isidentifier() else f"[{text!r}]"
