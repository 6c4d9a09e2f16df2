"""What a job was told by pgqueue.signal(), as its handler sees it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

__all__ = ["HEADER", "Signal", "take_signals"]

# Under which claims put it into the headers; sql/functions/signals.sql.
HEADER = "pgqueue.signals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """
    One signal that a job got.

    Attributes:
        payload: What came with it.
        timed_out: Nothing came: the job went on when its time was over.
        sent_by: The database login that sent it.
    """

    name: str
    payload: Any = None
    timed_out: bool = False
    sent_at: dt.datetime | None = None
    sent_by: str | None = None


def take_signals(headers: dict[str, Any]) -> dict[str, Signal]:
    """Take them out of the headers of a claimed job."""
    found = headers.pop(HEADER, None)
    if not isinstance(found, list):
        return {}
    return {
        one["name"]: Signal(
            name=one["name"],
            payload=one.get("payload"),
            timed_out=bool(one.get("timed_out")),
            sent_at=dt.datetime.fromisoformat(one["sent_at"]) if one.get("sent_at") else None,
            sent_by=one.get("sent_by"),
        )
        for one in found
    }
