"""Converters of lists, tuples, sets, mappings, unions, literals and enums."""

from __future__ import annotations

from enum import Enum, Flag
from typing import TYPE_CHECKING, Any

from pgqueue.binding.converters import (
    Converter,
    Mismatch,
    collect,
    key_path,
    wrong_type,
    wrong_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CHOICES_SHOWN_MAX = 10


def sequence_of(build: Callable[[Any], Any], item: Converter, expects: str) -> Converter:
    """Read an array into *build*, one of list, tuple, set and frozenset."""
    convert_item = item.convert

    def convert(value: Any) -> Any:
        if type(value) is not list:
            raise wrong_type(value, expects)
        try:
            return build([convert_item(entry) for entry in value])
        except Mismatch:
            raise collect(
                (f"[{i}]", convert_item, entry) for i, entry in enumerate(value)
            ) from None
        except TypeError:  # an unhashable item of a set
            raise wrong_value(value, f"{expects} of single values") from None

    return Converter(convert, expects, list)


def tuple_of(items: Sequence[Converter]) -> Converter:
    """Read an array of fixed length."""
    expects = f"an array of {len(items)}"
    functions = tuple(item.convert for item in items)

    def convert(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise wrong_type(value, expects)
        if len(value) != len(functions):
            raise Mismatch.at("", f"has {len(value)} items, not {len(functions)}")
        try:
            return tuple(function(entry) for function, entry in zip(functions, value, strict=True))
        except Mismatch:
            pairs = enumerate(zip(functions, value, strict=True))
            raise collect((f"[{i}]", function, entry) for i, (function, entry) in pairs) from None

    return Converter(convert, expects, list)


def mapping_of(key: Converter, item: Converter) -> Converter:
    """Read an object into a dict; two keys that convert to the same one are refused."""

    def convert(value: Any) -> dict[Any, Any]:
        if type(value) is not dict:
            raise wrong_type(value, "an object")
        try:
            result = {key.convert(name): item.convert(entry) for name, entry in value.items()}
        except Mismatch:
            raise collect(
                (key_path(name), function, part)
                for name, entry in value.items()
                for function, part in ((key.convert, name), (item.convert, entry))
            ) from None
        if len(result) != len(value):
            raise Mismatch.at("", f"has two keys that are the same {key.expects.split()[-1]}")
        return result

    return Converter(convert, "an object", dict)


def one_of(members: Sequence[tuple[Any, Converter]], *, nullable: bool) -> Converter:
    """
    Read a union: the first member that fits, from left to right.

    Only numbers look ahead: an integer is an int, though `float | int` names float first.
    """
    converters = tuple(converter for _, converter in members)
    numbers = {kind: c.convert for kind, c in members if kind in {int, float}}
    names = [converter.expects for converter in converters] + ["null"] * nullable
    expects = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"

    def convert(value: Any) -> Any:
        if value is None and nullable:
            return None
        if len(converters) == 1:
            return converters[0].convert(value)
        if type(value) in numbers:
            return numbers[type(value)](value)
        for converter in converters:
            try:
                return converter.convert(value)
            except Mismatch:
                continue
        # The only member of that shape was meant: its problems say more than "none of these".
        meant = [converter for converter in converters if converter.takes is type(value)]
        if len(meant) == 1:
            return meant[0].convert(value)
        raise wrong_value(value, expects)

    return Converter(convert, expects)


def choice_of(choices: Iterable[Any], enums: Callable[[type[Enum]], Converter]) -> Converter:
    """Read a Literal; 1, 1.0 and true are different choices."""
    plain: dict[tuple[type, Any], Any] = {}
    members: list[Enum] = []
    for choice in choices:
        if isinstance(choice, Enum):
            members.append(choice)
        else:
            plain[type(choice), choice] = choice
    readers = [enums(kind).convert for kind in {type(member) for member in members}]
    expects = f"one of {_listed([*plain.values(), *(member.name for member in members)])}"

    def convert(value: Any) -> Any:
        if isinstance(value, list | dict):
            raise wrong_type(value, expects)
        if (type(value), value) in plain:
            return plain[type(value), value]
        for reader in readers:
            try:
                member = reader(value)
            except Mismatch:
                continue
            if member in members:
                return member
        raise wrong_value(value, expects)

    return Converter(convert, expects)


def enum_of(kind: type[Enum]) -> Converter:
    """Read an Enum by value, else by name; names match without case and underscores."""
    by_value = {
        (type(member.value), member.value): member
        for member in kind
        if isinstance(member.value, str | int | float | bool | None)
    }
    by_name: dict[str, Enum | None] = {}
    for name, member in kind.__members__.items():
        folded = fold(name)
        # Two names that differ only by case: neither can be meant by a third spelling.
        by_name[folded] = member if by_name.get(folded, member) is member else None
    expects = f"one of {_listed(kind.__members__)}"

    def convert(value: Any) -> Enum:
        if isinstance(value, list | dict):
            raise wrong_type(value, expects)
        found = by_value.get((type(value), value))
        if found is None and isinstance(value, str):
            found = kind.__members__.get(value) or by_name.get(fold(value))
        if found is None and issubclass(kind, Flag) and type(value) is int and value >= 0:
            found = _flags(kind, value)
        if found is None:
            raise wrong_value(value, expects)
        return found

    return Converter(convert, expects)


def _flags(kind: type[Flag], value: int) -> Flag | None:
    # By hand: Python 3.11.2 takes bits that no member has.
    known = 0
    for member in kind.__members__.values():
        known |= member.value
    return None if value & ~known else kind(value)


def fold(name: str) -> str:
    """Reduce a name to what `order_id`, `OrderId`, `orderID` and `ORDER_ID` have in common."""
    return name.replace("_", "").lower()


def _listed(choices: Iterable[Any]) -> str:
    names = [str(choice) for choice in choices]
    more = ", ..." if len(names) > CHOICES_SHOWN_MAX else ""
    return ", ".join(names[:CHOICES_SHOWN_MAX]) + more
