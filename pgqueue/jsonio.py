"""
JSON in and out: what PostgreSQL stores and Python refuses, and the other way round.

Numbers with a fraction can be loaded as ExactFloat: a float that remembers how it was written, so
that a parameter annotated Decimal gets 10.50 with its scale and one annotated float gets a float.
Decimals are written as strings: as a number, JavaScript and most other readers would round them,
and the binder reads Decimals from strings.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime as dt
import json
import math
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, NoReturn, Self, TypeAlias
from uuid import UUID

from pgqueue.errors import InvalidArgument, ResultNotSerializable, UndecodablePayload

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

# What finished_result_size_check and jobs_payload_size_check allow; jsonb is about as large as its
# text, and PostgreSQL has the last word.
RESULT_BYTES_MAX = 16 * 1024 * 1024
# The walk over a result recurses, and Python's stack holds 1,000 calls.
DEPTH_MAX = 200


class ExactFloat(float):
    """A float that remembers its literal; `str()` gives the literal, everything else is float's."""

    __slots__ = ("literal",)
    literal: str

    def __new__(cls, literal: str) -> Self:
        """Read the number from its *literal*."""
        self = super().__new__(cls, literal)
        self.literal = literal
        return self

    def __str__(self) -> str:
        return self.literal

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        return (self.literal,)


def load_payload(text: str, *, exact: bool = False) -> dict[str, Any]:
    """
    Decode a claimed job's payload.

    Args:
        text: What claim returned.
        exact: Load numbers with a fraction as ExactFloat (the binder says when it needs that).

    Raises:
        UndecodablePayload: Too deep, a number beyond Python's limit, or not a JSON object.
    """
    value = loads(text, exact=exact)
    if not isinstance(value, dict):
        message = f"payload is {json_type(value)}, not an object"
        raise UndecodablePayload(message)
    return value


def loads(text: str, *, exact: bool = False) -> Any:
    """
    Decode *text*.

    Raises:
        UndecodablePayload: Python refuses it; the message says why, without the text.
    """
    try:
        return (_EXACT if exact else _PLAIN).decode(text)
    except RecursionError:
        _undecodable("is nested too deeply for Python")
    except json.JSONDecodeError as exc:
        _undecodable(f"is not JSON: {exc.msg} at character {exc.pos}")
    except ValueError:
        _undecodable(f"holds an integer of more than {sys.get_int_max_str_digits()} digits")


def dumps(value: object) -> str:
    """
    Encode a handler's result.

    Knows UUID, datetime, date, time, timedelta (ISO 8601), Decimal (string), Enum (its value),
    dataclasses, sets, bytes (base64), paths, pydantic models and msgspec Structs.

    Raises:
        ResultNotSerializable: Names the path of what JSON or jsonb cannot hold.
    """
    try:
        return _encode(value, "result")
    except _Refused as exc:
        message = f"{exc.path} {exc.reason}"
        raise ResultNotSerializable(message, path=exc.path) from None


def plain_result(value: object) -> Any:
    """
    Reduce a handler's result to what JSON holds, for an outcome that is encoded as a whole.

    Raises:
        ResultNotSerializable: As `dumps`.
    """
    try:
        return _plain(value, "result", 0)
    except _Refused as exc:
        message = f"{exc.path} {exc.reason}"
        raise ResultNotSerializable(message, path=exc.path) from None


def dump_payload(value: Mapping[str, object]) -> str:
    """
    Encode a payload to enqueue.

    Raises:
        InvalidArgument: Not an object, or holds what JSON or jsonb cannot hold.
    """
    try:
        plain = _encode(value, "payload")
    except _Refused as exc:
        message = f"{exc.path} {exc.reason}"
        raise InvalidArgument(message) from None
    if not plain.startswith("{"):
        message = f"payload must be an object, not {type(value).__name__}"
        raise InvalidArgument(message, hint="Wrap it: {'items': [...]}.")
    return plain


def to_json_value(value: object, what: str = "value") -> Any:
    """
    Reduce *value* to dicts, lists, strings, numbers, booleans and None.

    Raises:
        InvalidArgument: It cannot be.
    """
    try:
        return _plain(value, what, 0)
    except _Refused as exc:
        message = f"{exc.path} {exc.reason}"
        raise InvalidArgument(message) from None


def clean_text(text: str, characters_max: int) -> str:
    """Return *text* as PostgreSQL can store it: without NUL and lone surrogates, cut to size."""
    if len(text) > characters_max:
        text = text[: characters_max - 1] + "…"
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.encode("utf-8", "replace").decode("utf-8")


def json_type(value: object) -> str:
    """Name the JSON type of a decoded value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return type(value).__name__


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


class _Refused(Exception):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


def _undecodable(reason: str) -> NoReturn:
    message = f"payload {reason}"
    raise UndecodablePayload(
        message, hint="Cancel the job, or enqueue it again with a payload that Python can load."
    ) from None


def _no_constant(name: str) -> NoReturn:
    _undecodable(f"holds {name}, which is not JSON")


# Made once: json.loads() builds a decoder for each call that says how to parse, 2.1 microseconds
# instead of 0.7.
_PLAIN = json.JSONDecoder(parse_constant=_no_constant)
_EXACT = json.JSONDecoder(parse_float=ExactFloat, parse_constant=_no_constant)


def _encode(value: object, name: str) -> str:
    # The walk runs only for what json's own encoder refuses or hides: that one is far faster.
    text = None
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        text = _json(value)
    if text is None or "\\u0000" in text or _has_surrogates(text):
        text = _json(_plain(value, name, 0))
    size = len(text.encode())
    if size > RESULT_BYTES_MAX:
        raise _Refused(name, f"has {size} bytes; at most {RESULT_BYTES_MAX} are stored")
    return text


def _json(value: object) -> str:
    return json.dumps(
        value, default=_leaf, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _plain(value: object, path: str, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise _Refused(path[:100], f"is nested more than {DEPTH_MAX} levels deep, or in itself")
    match value:
        case None | bool():
            return value
        case Enum():
            return _plain(value.value, path, depth + 1)
        case str():
            return _plain_text(value, path)
        case int():
            return _plain_int(value, path)
        case float():
            if not math.isfinite(value):
                raise _Refused(path, f"is {float(value)!r}, which JSON cannot hold")
            return float(value)
        case dict() | Mapping():
            return {
                _key(key, path): _plain(item, f"{path}.{key}", depth + 1)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    try:
        return _plain(_leaf(value), path, depth + 1)
    except TypeError:
        raise _Refused(path, f"is {_a(value)}, which JSON cannot hold") from None


def _plain_int(value: int, path: str) -> int:
    try:
        str(value)
    except ValueError:
        limit = sys.get_int_max_str_digits()
        raise _Refused(path, f"is an integer of more than {limit} digits") from None
    return int(value)


def _plain_text(value: str, path: str) -> str:
    if "\0" in value:
        raise _Refused(path, "holds a NUL character, which PostgreSQL cannot store")
    if _has_surrogates(value):
        raise _Refused(path, "holds half a surrogate pair, which is not Unicode text")
    return str(value)


def _key(key: object, path: str) -> str:
    match key:
        case bool():
            return "true" if key else "false"
        case Enum():
            return _key(key.value, path)
        case str():
            return _plain_text(key, f"a key of {path}")
        case int() | UUID() | Decimal() | PurePath():
            return str(key)
        case dt.date() | dt.time():
            return key.isoformat()
        case _:
            raise _Refused(path, f"has a key that is {_a(key)}, not a string")


def _leaf(value: object) -> object:
    """Turn one value that json does not know into one that it does, one level at a time."""
    match value:
        case UUID() | PurePath():
            return str(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case Decimal() if value.is_finite():
            return str(value)
        case dt.timedelta():
            return format_duration(value)
        case Enum():
            return value.value
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case AbstractSet():
            return _ordered(value)
        case Mapping():
            return dict(value)
        case Sequence():
            return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return _foreign_leaf(value)


def _foreign_leaf(value: object) -> object:
    if isinstance(value, type):
        raise TypeError
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__struct_fields__"):
        return sys.modules["msgspec"].to_builtins(value)
    raise TypeError


def _ordered(values: AbstractSet[Any]) -> list[Any]:
    # Sorted where it can be: the same result gives the same JSON in every run.
    try:
        return sorted(values)
    except TypeError:
        return list(values)


def format_duration(value: dt.timedelta) -> str:
    """Write *value* as ISO 8601 seconds, `PT90.5S`, which PostgreSQL and .NET read."""
    micros = value // dt.timedelta(microseconds=1)
    whole, fraction = divmod(abs(micros), 1_000_000)
    digits = f"{whole}.{fraction:06d}".rstrip("0").rstrip(".") if fraction else str(whole)
    return f"{'-' if micros < 0 else ''}PT{digits}S"
