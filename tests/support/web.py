"""What goes wrong with somebody's API: answers for workers.pretend."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime
from typing import TYPE_CHECKING

from workers.pretend import Answer, Pretender, Request, pretending

if TYPE_CHECKING:
    import threading

__all__ = [
    "Answer",
    "Pretender",
    "Request",
    "broken",
    "cut",
    "held",
    "malformed",
    "pretending",
    "refused",
    "too_large",
    "too_many",
]


def too_many(
    seconds: int | None = 1, *, at: dt.datetime | None = None, status: int = 429
) -> Answer:
    """Come again in *seconds*, or at a time, or (both None) whenever."""
    if at is not None:
        return Answer(
            status, {}, {"retry-after": format_datetime(at.astimezone(dt.UTC), usegmt=True)}
        )
    return Answer(status, {}, {} if seconds is None else {"retry-after": str(seconds)})


def broken(status: int = 500) -> Answer:
    """The service is down."""
    return Answer(status, "<html>sorry</html>", {"content-type": "text/html"})


def refused(status: int = 404, said: str = "no such thing") -> Answer:
    """The request is wrong."""
    return Answer(status, {"error": said})


def malformed(body: bytes = b'{"coins": [') -> Answer:
    """No JSON."""
    return Answer(200, body)


def cut() -> Answer:
    """Fewer bytes than announced."""
    return Answer(200, {"coins": ["x" * 100]}, missing=50)


def too_large(size: int) -> Answer:
    """JSON of *size* bytes."""
    return Answer(200, b'"' + b"x" * (size - 2) + b'"')


def held(gate: threading.Event) -> Answer:
    """Nothing until the gate opens."""
    return Answer(200, [], gate=gate)
