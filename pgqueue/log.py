"""
Logging: one event per state change, key=value or JSON, ids always, payloads never.

Everything goes through stdlib loggers named `pgqueue.*`. The message of a record is complete by
itself, so an application with its own logging setup loses nothing; the fields also travel as
`record.pgqueue_fields` for formatters that want them apart.
"""

from __future__ import annotations

import datetime as dt
import json as jsonlib
import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["JobLogger", "configure", "event"]

_FIELDS = "pgqueue_fields"
_EVENT = "pgqueue_event"


def configure(
    level: int | str = "INFO", *, json: bool = False, stream: TextIO | None = None
) -> None:
    """
    Send all log records to stderr. For programs; a library leaves logging to its application.

    Args:
        level: A level's name or number, for the root logger.
        json: One JSON object per line instead of key=value.
        stream: Instead of stderr.

    Raises:
        ValueError: No such level.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if json else KeyValueFormatter())
    handler.set_name("pgqueue")
    root = logging.getLogger()
    for old in [h for h in root.handlers if h.get_name() == "pgqueue"]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper() if isinstance(level, str) else level)


def event(
    logger: logging.Logger,
    level: int,
    name: str,
    *,
    text: str = "",
    details: Mapping[str, object] | None = None,
    exc_info: BaseException | bool | None = None,
    **fields: object,
) -> None:
    """
    Log one state change: `job succeeded job_id=... attempt=1 text`.

    Args:
        logger: A logger named `pgqueue.*`.
        level: Such as logging.INFO.
        name: What happened, in a few constant words; it is what people grep for.
        text: For people, after the fields; JSON leaves it out.
        details: For JSON, what *text* says in words.
        exc_info: As logging takes it.
        **fields: Ids and numbers; None is left out. Never a payload.
    """
    if not logger.isEnabledFor(level):
        return
    kept = {key: value for key, value in fields.items() if value is not None}
    message = " ".join(filter(None, (name, key_values(kept), text)))
    extra = {_EVENT: name, _FIELDS: {**kept, **(details or {})}}
    # "%s": a field may hold a percent sign.
    logger.log(level, "%s", message, exc_info=exc_info, extra=extra, stacklevel=2)


def key_values(fields: Mapping[str, object]) -> str:
    """Write *fields* as `key=value key="two words"`, on one line whatever they hold."""
    return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(value: object) -> str:
    text = value.isoformat() if isinstance(value, dt.datetime) else str(value)
    if text and text.isprintable() and not any(mark in text for mark in ' "='):
        return text
    return jsonlib.dumps(text, ensure_ascii=not text.isprintable())


class JobLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records all carry the ids of one job; handlers have it as `ctx.logger`."""

    def __init__(self, logger: logging.Logger, fields: Mapping[str, object]) -> None:
        super().__init__(logger, dict(fields))
        self._suffix = f" {key_values(fields)}"

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log as any logger does, with the ids appended."""
        if not self.isEnabledFor(level):
            return
        text, kwargs = self.process(msg, kwargs)  # type: ignore[assignment]
        # logging formats a message only when it has arguments.
        suffix = self._suffix.replace("%", "%%") if args else self._suffix
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        line = f"{text}{suffix}"
        self.logger.log(level, line, *args, **kwargs)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the ids to the record, beside what the caller adds."""
        extra = dict(kwargs.get("extra") or {})
        extra[_FIELDS] = {**(self.extra or {}), **extra.get(_FIELDS, {})}
        kwargs["extra"] = extra
        return msg, kwargs


class KeyValueFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO pgqueue.worker: job started job_id=...`."""

    def format(self, record: logging.LogRecord) -> str:
        """Put time, level and logger before the message; a traceback follows on its own lines."""
        line = f"{_timestamp(record)} {record.levelname} {record.name}: {record.getMessage()}"
        trace = _traceback(self, record)
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(logging.Formatter):
    """One JSON object per line; an event's fields are members of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """Build the object; fields never overwrite time, level, logger and event."""
        fields = getattr(record, _FIELDS, None)
        entry: dict[str, object] = dict(fields) if isinstance(fields, Mapping) else {}
        entry |= {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, _EVENT, None) or record.getMessage(),
        }
        trace = _traceback(self, record)
        if trace:
            entry["exception"] = trace
        return jsonlib.dumps(entry, default=str, ensure_ascii=False)


def _timestamp(record: logging.LogRecord) -> str:
    moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return formatter.formatException(record.exc_info)
