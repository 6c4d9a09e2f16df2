"""Types of parameters: durations, times, priorities, payloads, job ids."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # takes no parameter before click 8.4

PRIORITIES = {"high": 0, "normal": 1, "low": 2, "bulk": 3}
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|[smhdw])\s*")


class Duration(_Type):
    """`90`, `1.5s`, `5m`, `2h30m`, `7d`: a timedelta."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it; a number without a unit is seconds."""
        if isinstance(value, dt.timedelta):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from None


def parse_duration(text: str) -> dt.timedelta:
    """
    Read `90`, `1.5s`, `5m`, `2h30m`, `7d`.

    Raises:
        ValueError: It is none.
    """
    refused = ValueError(f"{text!r} is no duration; write it like 90, 1.5s, 5m, 2h30m or 7d.")
    plain = text.strip()
    seconds = 0.0
    if re.fullmatch(r"\d+(\.\d+)?", plain):
        seconds = float(plain)
    else:
        end = 0
        while end < len(plain):
            part = _PART.match(plain, end)
            if part is None:
                raise refused
            seconds += float(part[1]) * _UNITS[part[2]]
            end = part.end()
        if not end:
            raise refused
    try:
        return dt.timedelta(seconds=seconds)
    except OverflowError:
        raise refused from None


class Moment(_Type):
    """An ISO 8601 time; without an offset it is local. With *past*, `2h` means two hours ago."""

    name = "time"

    def __init__(self, *, past: bool = False) -> None:
        self.past = past

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if isinstance(value, dt.datetime):
            return value
        text = str(value).strip()
        try:
            return dt.datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError, OSError):
            pass
        if self.past:
            try:
                return dt.datetime.now().astimezone() - parse_duration(text)
            except (ValueError, OverflowError):
                pass
        also = ", or a duration like 2h for as long ago" if self.past else ""
        raise click.BadParameter(
            f"{text!r} is no time; write it like 2030-01-31T18:00{also}.", ctx=ctx, param=param
        )


class Priority(_Type):
    """high, normal, low, bulk or 0 to 3."""

    name = "priority"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Shown in the help."""
        return "[high|normal|low|bulk]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        text = str(value).strip().lower()
        if text in PRIORITIES:
            return PRIORITIES[text]
        if text in {"0", "1", "2", "3"}:
            return int(text)
        raise click.BadParameter(
            f"{value!r} is not high (0), normal (1), low (2) or bulk (3).", ctx=ctx, param=param
        )


class JsonObject(_Type):
    """
    A JSON object: given itself, `-` for stdin, or `@file`. Kept as text.

    Decoding and encoding it again would round numbers that PostgreSQL keeps exactly.
    """

    name = "payload"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Fetch it and check that it is an object."""
        try:
            return check_object(fetched(str(value)))
        except ValueError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from None


def fetched(text: str) -> str:
    """
    The text itself, or what `-` or `@file` stands for.

    Raises:
        ValueError: The file cannot be read.
    """
    try:
        if text == "-":
            return sys.stdin.read()
        if text.startswith("@"):
            return Path(text[1:]).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text.") from None
    except OSError as error:
        raise ValueError(f"{text[1:]}: {error.strerror}.") from None
    return text


def check_object(text: str) -> str:
    """
    Return *text* if it is a JSON object, for all that Python can tell.

    Raises:
        ValueError: It is not; says where.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ValueError(f"not JSON: {error.msg} at {where}.") from None
    except (ValueError, RecursionError):
        # Numbers and depths beyond Python's limits: the server decides.
        return text
    if not isinstance(value, dict):
        raise ValueError("not a JSON object; write it like '{\"order_id\": 7}'.")  # noqa: TRY004
    return text


class JobId(_Type):
    """A job's id."""

    name = "job_id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        try:
            return UUID(str(value))
        except ValueError:
            message = f"{value!r} is no job id (a UUID)."
            raise click.BadParameter(message, ctx=ctx, param=param) from None


DURATION = Duration()
MOMENT = Moment()
SINCE = Moment(past=True)
PRIORITY = Priority()
JSON_OBJECT = JsonObject()
JOB_ID = JobId()
