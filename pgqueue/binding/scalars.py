"""Converters of single values."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import math
import re
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

from pgqueue.binding.converters import Converter, wrong_type, wrong_value
from pgqueue.jsonio import ExactFloat

# Above this a float no longer names one integer.
_EXACT_INTEGER_MAX = 2**53

# datetime.fromisoformat alone also takes dates, weeks and basic format. Seven digits of a second
# are what .NET writes; the seventh is cut off.
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?"
_OFFSET = r"(?:Z|z|[+-]\d\d(?::?\d\d)?)?"
_DATETIME = re.compile(rf"\d{{4}}-\d\d-\d\d[Tt ]{_CLOCK}{_OFFSET}", re.ASCII)
# A .NET DateTime that stands for a day carries midnight.
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:T00:00:00(?:\.0+)?)?", re.ASCII)
_TIME = re.compile(rf"{_CLOCK}{_OFFSET}", re.ASCII)
_ISO_DURATION = re.compile(
    r"(?P<sign>[+-]?)P(?=[\dT])(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:[.,]\d+)?)S)?)?",
    re.ASCII,
)
_NET_DURATION = re.compile(
    r"(?P<sign>-?)(?:(?P<days>\d+)\.)?(?P<hours>\d\d?):(?P<minutes>[0-5]\d)"
    r"(?::(?P<seconds>[0-5]\d(?:\.\d+)?))?",
    re.ASCII,
)
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


def _anything(value: Any) -> Any:
    return value


def _none(value: Any) -> None:
    if value is not None:
        raise wrong_type(value, "null")


def _str(value: Any) -> str:
    if type(value) is not str:
        raise wrong_type(value, "a string")
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise wrong_type(value, "a boolean")
    return value


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    if not isinstance(value, float):
        raise wrong_type(value, "an integer")
    # JavaScript and .NET decimals write 1 as 1.0, and JSON has one kind of number.
    if not value.is_integer() or abs(value) > _EXACT_INTEGER_MAX:
        raise wrong_value(value, "an integer")
    return int(value)


def _float(value: Any) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is bool or not isinstance(value, int | float):
        raise wrong_type(value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise wrong_value(value, "one that a float can hold")
    return number


def _decimal(value: Any) -> Decimal:
    match value:
        case bool():
            raise wrong_type(value, "a decimal number")
        case int():
            return Decimal(value)
        case ExactFloat():
            return Decimal(value.literal)
        case float() if math.isfinite(value):
            return Decimal(repr(value))
        case str():
            if not _DECIMAL.fullmatch(value):
                raise wrong_value(value, "a decimal number")
            return Decimal(value)
        case _:
            raise wrong_type(value, "a decimal number")


def _uuid(value: Any) -> UUID:
    if type(value) is not str:
        raise wrong_type(value, "a UUID")
    try:
        return UUID(value)
    except ValueError:
        raise wrong_value(value, "a UUID") from None


def _datetime(value: Any) -> dt.datetime:
    if type(value) is not str:
        raise wrong_type(value, "a date and time")
    try:
        if _DATETIME.fullmatch(value):
            return dt.datetime.fromisoformat(value.upper())
    except ValueError:
        pass
    raise wrong_value(value, "a date and time in ISO 8601")


def _date(value: Any) -> dt.date:
    if type(value) is not str:
        raise wrong_type(value, "a date")
    match = _DATE.fullmatch(value)
    try:
        if match:
            return dt.date.fromisoformat(match[1])
    except ValueError:
        pass
    raise wrong_value(value, "a date in ISO 8601")


def _time(value: Any) -> dt.time:
    if type(value) is not str:
        raise wrong_type(value, "a time of day")
    try:
        if _TIME.fullmatch(value):
            return dt.time.fromisoformat(value.upper())
    except ValueError:
        pass
    raise wrong_value(value, "a time of day in ISO 8601")


def _timedelta(value: Any) -> dt.timedelta:
    expects = "a duration (seconds, ISO 8601 or d.hh:mm:ss)"
    if type(value) is bool or not isinstance(value, int | float | str):
        raise wrong_type(value, expects)
    try:
        if not isinstance(value, str):
            return dt.timedelta(seconds=value)
        match = _ISO_DURATION.fullmatch(value) or _NET_DURATION.fullmatch(value)
        if match:
            return _span(match.groupdict())
    except (OverflowError, ValueError):
        pass
    raise wrong_value(value, expects)


def _span(parts: dict[str, str | None]) -> dt.timedelta:
    sign = parts.pop("sign")
    whole, _, fraction = (parts.pop("seconds") or "0").replace(",", ".").partition(".")
    # By digits: a float of seconds loses microseconds beyond 285 years.
    units = {name: int(number) for name, number in parts.items() if number}
    micros = int(f"{fraction:0<6}"[:6])
    span = dt.timedelta(**units, seconds=int(whole), microseconds=micros)
    return -span if sign == "-" else span


def _bytes(value: Any) -> bytes:
    if type(value) is not str:
        raise wrong_type(value, "base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise wrong_value(value, "base64") from None


def _path(value: Any) -> Path:
    return Path(_str(value))


SCALARS: dict[Any, Converter] = {
    Any: Converter(_anything, "anything"),
    object: Converter(_anything, "anything"),
    None: Converter(_none, "null"),
    type(None): Converter(_none, "null"),
    str: Converter(_str, "a string"),
    bool: Converter(_bool, "a boolean"),
    int: Converter(_int, "an integer"),
    float: Converter(_float, "a number"),
    Decimal: Converter(_decimal, "a decimal number"),
    UUID: Converter(_uuid, "a UUID"),
    dt.datetime: Converter(_datetime, "a date and time"),
    dt.date: Converter(_date, "a date"),
    dt.time: Converter(_time, "a time of day"),
    dt.timedelta: Converter(_timedelta, "a duration"),
    bytes: Converter(_bytes, "base64"),
    Path: Converter(_path, "a path"),
    PurePath: Converter(_path, "a path"),
}


def _int_key(key: str) -> int:
    if not re.fullmatch(r"-?\d{1,4000}", key, re.ASCII):
        raise wrong_value(key, "an integer")
    return int(key)


# A JSON object's keys are strings; these annotations of a mapping's keys read them.
KEYS: dict[Any, Converter] = {
    Any: SCALARS[Any],
    int: Converter(_int_key, "an integer"),
    **{kind: SCALARS[kind] for kind in (str, Decimal, UUID, dt.datetime, dt.date)},
}
