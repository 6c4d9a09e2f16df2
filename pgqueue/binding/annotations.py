"""From an annotation to its converter."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections import abc
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Union

from pgqueue.binding.containers import (
    choice_of,
    enum_of,
    mapping_of,
    one_of,
    sequence_of,
    tuple_of,
)
from pgqueue.binding.converters import Converter
from pgqueue.binding.records import (
    Member,
    Record,
    built,
    is_msgspec,
    is_pydantic,
    msgspec_struct,
    pydantic_model,
)
from pgqueue.binding.scalars import KEYS, SCALARS

_SEQUENCES: dict[Any, tuple[type, str]] = {
    list: (list, "an array"),
    abc.Sequence: (list, "an array"),
    abc.MutableSequence: (list, "an array"),
    abc.Collection: (list, "an array"),
    abc.Iterable: (list, "an array"),
    set: (set, "an array"),
    abc.MutableSet: (set, "an array"),
    frozenset: (frozenset, "an array"),
    abc.Set: (frozenset, "an array"),
}
_MAPPINGS = frozenset({dict, abc.Mapping, abc.MutableMapping})
_ANYTHING = SCALARS[Any]
# Annotated's extras are for others; Required and NotRequired are read before.
_WRAPPERS = frozenset({Annotated, typing.Required, typing.NotRequired})


class CannotBind(Exception):
    """No payload can be converted to this annotation."""


class Compiler:
    """
    Compiles the annotations of one handler.

    Args:
        namespace: Names that annotations may use beside their module's own.

    Attributes:
        exact_numbers: Whether something compiled so far wants the literals of numbers.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.exact_numbers = False
        self._namespace = namespace
        self._records: dict[type, Converter] = {}

    def converter(self, annotation: Any) -> Converter:
        """
        Compile *annotation*.

        Raises:
            CannotBind: It has no JSON form.
            NameError: It names what is not defined (yet).
        """
        annotation = _unwrapped(annotation)
        if isinstance(annotation, abc.Hashable) and annotation in SCALARS:
            self.exact_numbers |= annotation is Decimal
            return SCALARS[annotation]
        origin = typing.get_origin(annotation) or annotation
        arguments = typing.get_args(annotation)
        if origin in {Union, types.UnionType}:
            return self._union(arguments)
        if origin is typing.Literal:
            return choice_of(arguments, enum_of)
        if origin is tuple:
            return self._tuple(arguments)
        if origin in _SEQUENCES:
            build, expects = _SEQUENCES[origin]
            item = self.converter(arguments[0]) if arguments else _ANYTHING
            return sequence_of(build, item, expects)
        if origin in _MAPPINGS:
            return self._mapping(arguments)
        if isinstance(annotation, type) and not arguments:
            return self._class(annotation)
        raise CannotBind(f"{_shown(annotation)} has no JSON form that pgqueue knows")

    def hints(self, kind: Any) -> dict[str, Any]:
        """Return the annotations of a class, evaluated."""
        return typing.get_type_hints(kind, localns=self._namespace or None, include_extras=True)

    def _union(self, arguments: tuple[Any, ...]) -> Converter:
        members = [a for a in arguments if a is not type(None)]
        return one_of(
            [(_unwrapped(member), self.converter(member)) for member in members],
            nullable=len(members) < len(arguments),
        )

    def _tuple(self, arguments: tuple[Any, ...]) -> Converter:
        if not arguments:
            return sequence_of(tuple, _ANYTHING, "an array")
        if len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004 - tuple[X, ...]
            return sequence_of(tuple, self.converter(arguments[0]), "an array")
        return tuple_of([self.converter(argument) for argument in arguments])

    def _mapping(self, arguments: tuple[Any, ...]) -> Converter:
        if not arguments:
            return mapping_of(_ANYTHING, _ANYTHING)
        kind = _unwrapped(arguments[0])
        if kind in KEYS:
            key = KEYS[kind]
        elif isinstance(kind, type) and issubclass(kind, Enum):
            key = enum_of(kind)
        elif typing.get_origin(kind) is typing.Literal:
            key = choice_of(typing.get_args(kind), enum_of)
        else:
            raise CannotBind(f"{_shown(kind)} cannot be the key of a mapping")
        return mapping_of(key, self.converter(arguments[1]))

    def _class(self, kind: type) -> Converter:
        if kind in self._records:
            return self._records[kind]
        if issubclass(kind, Enum):
            return enum_of(kind)
        if is_pydantic(kind):
            self.exact_numbers = True
            return pydantic_model(kind)
        if is_msgspec(kind):
            self.exact_numbers = True
            return msgspec_struct(kind)
        if typing.is_typeddict(kind):
            return self._record(kind, self._typed_dict_members, dict)
        if dataclasses.is_dataclass(kind):
            return self._record(kind, self._dataclass_members, kind)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return self._record(kind, self._named_tuple_members, kind)
        raise CannotBind(f"{_shown(kind)} has no JSON form that pgqueue knows")

    def _record(
        self, kind: type, members: abc.Callable[[Any], list[Member]], build: type
    ) -> Converter:
        # A class may hold itself (a tree): its members look the record up when they run.
        expects = f"an object ({kind.__name__})"

        def convert(value: Any) -> Any:
            return self._records[kind].convert(value)

        self._records[kind] = Converter(convert, expects, dict)
        record = Record(members(kind))
        self._records[kind] = built(build, record, kind.__name__)
        return self._records[kind]

    def _typed_dict_members(self, kind: Any) -> list[Member]:
        # __required_keys__ is wrong for NotRequired under `from __future__ import annotations`.
        members = []
        for name, hint in self.hints(kind).items():
            required = name in kind.__required_keys__
            origin = typing.get_origin(hint)
            if origin in {typing.Required, typing.NotRequired}:
                required = origin is typing.Required
            members.append(Member(name, self._member(kind, name, hint), required))
        return members

    def _dataclass_members(self, kind: Any) -> list[Member]:
        hints = self.hints(kind)
        fields = [field for field in dataclasses.fields(kind) if field.init]
        extra = inspect.signature(kind).parameters.keys() - {field.name for field in fields}
        if extra:
            raise CannotBind(f"{kind.__name__}.{min(extra)} is no field (InitVar, own __init__)")
        return [
            Member(
                field.name,
                self._member(kind, field.name, hints[field.name]),
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING,
            )
            for field in fields
        ]

    def _named_tuple_members(self, kind: Any) -> list[Member]:
        hints = self.hints(kind)
        return [
            Member(
                name,
                self._member(kind, name, hints.get(name, Any)),
                name not in kind._field_defaults,
            )
            for name in kind._fields
        ]

    def _member(self, kind: type, name: str, hint: Any) -> Converter:
        try:
            return self.converter(hint)
        except CannotBind as exc:
            raise CannotBind(f"{kind.__name__}.{name}: {exc}") from None


def _unwrapped(annotation: Any) -> Any:
    while True:
        if typing.get_origin(annotation) in _WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__"):  # `type X = ...` of Python 3.12
            annotation = annotation.__value__
        else:
            return annotation


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
