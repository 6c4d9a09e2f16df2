"""Objects with named members: handler parameters, dataclasses, TypedDicts, NamedTuples, models."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pgqueue.binding.containers import fold
from pgqueue.binding.converters import Converter, Mismatch, key_path, prefixed, wrong_type
from pgqueue.errors import PROBLEMS_MAX
from pgqueue.jsonio import ExactFloat, clean_text

if TYPE_CHECKING:
    from collections.abc import Sequence

# Spellings of a key that a record remembers: each producer uses one, so more is noise.
_SPELLINGS_MAX = 1_000
_REFUSAL_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Member:
    """One parameter or field."""

    name: str
    converter: Converter
    required: bool = True


class Record:
    """
    Binds an object's keys to members.

    Args:
        members: In order.
        rest: For keys that no member takes; None refuses them.
        reserved: Names that `rest` must not take: the handler's own context parameter.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        rest: Converter | None = None,
        reserved: frozenset[str] = frozenset(),
    ) -> None:
        self._members = tuple(members)
        self._rest = rest
        self._reserved = reserved
        self._by_key = {member.name: member for member in members}
        self._required = frozenset(member.name for member in members if member.required)
        self._folded: dict[str, Member | None] = {}
        for member in members:
            folded = fold(member.name)
            # Members that differ only by case or underscores are reached by their exact names.
            self._folded[folded] = None if folded in self._folded else member

    def bind(self, given: dict[str, Any]) -> dict[str, Any]:
        """
        Return the converted values by member name.

        Raises:
            Mismatch: Names every problem, up to ten.
        """
        values: dict[str, Any] = {}
        try:
            for key, value in given.items():
                member = self._by_key.get(key) or self._resolve(key)
                if member is None or member.name in values:
                    return self._bind_slowly(given)
                values[member.name] = member.converter.convert(value)
        except Mismatch:
            return self._bind_slowly(given)
        if len(values) == len(self._members) or self._required <= values.keys():
            return values
        return self._bind_slowly(given)

    def _resolve(self, key: str) -> Member | None:
        member = self._folded.get(fold(key))
        if member is not None and len(self._by_key) < _SPELLINGS_MAX:
            self._by_key[key] = member
        return member

    def _bind_slowly(self, given: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        problems: list[tuple[str, str]] = []
        taken: dict[str, str] = {}
        for key, value in given.items():
            member = self._by_key.get(key) or self._resolve(key)
            name = key if member is None else member.name
            converter = self._rest if member is None else member.converter
            if converter is None:
                problems.append((key_path(key), "is unknown"))
            elif member is None and (name in self._reserved or name in taken):
                problems.append((key_path(key), "has the name of another parameter"))
            elif name in taken:
                problems.append((key_path(key), f"means the same as {key_path(taken[name])[1:]}"))
            else:
                taken[name] = key
                try:
                    values[name] = converter.convert(value)
                except Mismatch as exc:
                    problems += prefixed(key_path(key), exc)
        missing = [m.name for m in self._members if m.required and m.name not in taken]
        problems = [*((key_path(name), "is missing") for name in missing), *problems]
        if problems:
            raise Mismatch(problems[:PROBLEMS_MAX])
        return values


def built(kind: Any, record: Record, name: str) -> Converter:
    """Read an object into an instance of *kind*; what its constructor refuses does not fit."""
    by_position = hasattr(kind, "_fields")
    expects = f"an object ({name})"

    def convert(value: Any) -> Any:
        if type(value) is list and by_position:
            value = _named(kind, value)
        if type(value) is not dict:
            raise wrong_type(value, expects)
        values = record.bind(value)
        try:
            return kind(**values)
        except (ValueError, TypeError, ArithmeticError) as exc:
            why = clean_text(str(exc), _REFUSAL_CHARACTERS_MAX)
            raise Mismatch.at("", f"is refused by {name}: {why}") from exc

    return Converter(convert, expects, dict)


def _named(kind: Any, value: list[Any]) -> dict[str, Any]:
    if len(value) > len(kind._fields):
        raise Mismatch.at("", f"has {len(value)} items, not {len(kind._fields)}")
    return dict(zip(kind._fields, value, strict=False))


def is_pydantic(kind: type) -> bool:
    """Whether *kind* is a pydantic model, found out without importing pydantic."""
    return hasattr(kind, "model_validate") and any(
        base.__module__.partition(".")[0] == "pydantic" for base in kind.__mro__
    )


def is_msgspec(kind: type) -> bool:
    """Whether *kind* is a msgspec Struct, found out without importing msgspec."""
    return hasattr(kind, "__struct_fields__") and "msgspec" in sys.modules


def pydantic_model(kind: Any) -> Converter:
    """Leave *kind* to pydantic, with its aliases and validators."""
    expects = f"an object ({kind.__name__})"
    error: type[Exception] = sys.modules["pydantic"].ValidationError

    def convert(value: Any) -> Any:
        try:
            return kind.model_validate(value)
        except error as exc:
            # include_input=False: messages reach logs, values must not.
            rows = exc.errors(include_input=False, include_url=False)  # type: ignore[attr-defined]
        raise Mismatch([(_location(row["loc"]), str(row["msg"])) for row in rows[:PROBLEMS_MAX]])

    return Converter(convert, expects, dict)


def _location(steps: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else key_path(step) for step in steps)


def msgspec_struct(kind: type) -> Converter:
    """Leave *kind* to msgspec."""
    msgspec = sys.modules["msgspec"]

    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(_with_decimals(value), kind)
        except msgspec.ValidationError as exc:
            text = str(exc)
        # It reads: Expected `int`, got `str` - at `$.items[0].price`
        found = re.fullmatch(r"(.*?)(?: - at `(?:key in )?\$(.*?)`)?", text, re.DOTALL)
        what, path = (found[1], found[2] or "") if found else (text, "")
        raise Mismatch.at(path, what)

    return Converter(convert, f"an object ({kind.__name__})", dict)


def _with_decimals(value: Any) -> Any:
    # msgspec reads a Decimal into float and Decimal fields alike, but refuses a subclass of float.
    if isinstance(value, ExactFloat):
        return Decimal(value.literal)
    if isinstance(value, list):
        return [_with_decimals(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_decimals(item) for key, item in value.items()}
    return value
