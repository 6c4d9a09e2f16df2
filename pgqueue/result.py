"""What a run yields: structured errors, metrics, and the result that is logged for every job."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue import jsonio, log

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping
    from uuid import UUID

__all__ = ["JobError", "JobResult", "Metrics"]

MESSAGE_CHARACTERS_MAX = 4_000
CODE_CHARACTERS_MAX = 100


@dataclass(frozen=True, slots=True)
class JobError:
    """
    One structured error of a job.

    Attributes:
        message: For people; cut to 4,000 characters.
        code: A stable name that programs can branch on.
        item: What part of the input it is about, as JSON.
        retryable: Whether enqueueing that item again can help.
    """

    message: str
    code: str | None = None
    item: Any = None
    retryable: bool = False

    def __post_init__(self) -> None:
        # One NUL in an error message must not make PostgreSQL refuse the report of the failure.
        message = jsonio.clean_text(str(self.message), MESSAGE_CHARACTERS_MAX)
        object.__setattr__(self, "message", message)
        if self.code is not None:
            code = jsonio.clean_text(str(self.code), CODE_CHARACTERS_MAX)
            object.__setattr__(self, "code", code)
        object.__setattr__(self, "item", jsonio.to_json_value(self.item, "item"))

    @classmethod
    def from_exception(cls, exc: BaseException, *, retryable: bool = False) -> JobError:
        """Describe *exc*: its `code` where it is one of ours, else its class, is the code."""
        error = getattr(exc, "error", None)
        if isinstance(error, cls):
            return error
        code = getattr(exc, "code", None)
        name = type(exc).__name__
        return cls(
            _message_of(exc) or name,
            code=code if isinstance(code, str) else name,
            retryable=retryable,
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> JobError:
        """Read an error as it is stored; what is not there is the default."""
        return cls(
            stored.get("message") or "",
            code=stored.get("code"),
            item=stored.get("item"),
            retryable=bool(stored.get("retryable")),
        )

    def to_dict(self) -> dict[str, Any]:
        """As it is stored: code, message, item, retryable."""
        return {
            "code": self.code,
            "message": self.message,
            "item": self.item,
            "retryable": self.retryable,
        }


def _message_of(exc: BaseException) -> str:
    if isinstance(exc, psycopg.Error) and exc.diag.message_primary:
        # str() adds DETAIL, which quotes whole rows: data that has no business in logs and views.
        return exc.diag.message_primary
    try:
        return str(exc)
    except Exception:  # a broken __str__ must not hide the failure it describes
        return ""


@dataclass(slots=True)
class Metrics:
    """What a run did, counted by its handler. The methods may be called from several threads."""

    items_processed: int = 0
    items_created: int = 0
    items_updated: int = 0
    items_skipped: int = 0
    custom: dict[str, int | float] = field(default_factory=dict)
    _lock: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def processed(self, n: int = 1) -> None:
        """Count *n* more items processed."""
        with self._lock:
            self.items_processed += n

    def created(self, n: int = 1) -> None:
        """Count *n* more items created."""
        with self._lock:
            self.items_created += n

    def updated(self, n: int = 1) -> None:
        """Count *n* more items updated."""
        with self._lock:
            self.items_updated += n

    def skipped(self, n: int = 1) -> None:
        """Count *n* more items skipped."""
        with self._lock:
            self.items_skipped += n

    def add(self, name: str, value: float = 1) -> None:
        """Add *value* to the custom metric *name*."""
        with self._lock:
            self.custom[name] = self.custom.get(name, 0) + value

    def to_dict(self) -> dict[str, Any]:
        """As it is stored: without zeros, so that a job that counts nothing stores nothing."""
        with self._lock:
            counts = {
                "items_processed": self.items_processed,
                "items_created": self.items_created,
                "items_updated": self.items_updated,
                "items_skipped": self.items_skipped,
            }
            values: dict[str, Any] = {name: count for name, count in counts.items() if count}
            if self.custom:
                values["custom"] = dict(self.custom)
        return values

    def summary(self) -> str:
        """`100 processed, 50 created, 50 updated, 0 skipped`."""
        return (
            f"{self.items_processed} processed, {self.items_created} created,"
            f" {self.items_updated} updated, {self.items_skipped} skipped"
        )


_LEVELS = {"failed": logging.ERROR, "partial": logging.WARNING, "retrying": logging.WARNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """
    What every run of a handler yields, and logs in the same form for every job.

    Attributes:
        name: The job type.
        status: succeeded, partial, failed or cancelled; retrying, snoozed, paused or released for
            a run that does not finish its job.
        success: The handler returned: status is succeeded or partial.
        error: What ended the run when it did not succeed, else None.
        result: What the handler returned.
    """

    job_id: UUID
    name: str
    status: str
    attempt: int
    started: dt.datetime
    completed: dt.datetime
    duration_ms: int
    metrics: Metrics = field(default_factory=Metrics)
    error: JobError | None = None
    result: Any = None

    @property
    def success(self) -> bool:
        """Whether the handler returned."""
        return self.status in {"succeeded", "partial"}

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "job_id": str(self.job_id),
            "name": self.name,
            "success": self.success,
            "status": self.status,
            "attempt": self.attempt,
            "started": self.started.isoformat(),
            "completed": self.completed.isoformat(),
            "duration_ms": self.duration_ms,
            "metrics": self.metrics.to_dict(),
            "error": self.error.to_dict() if self.error else None,
            "result": jsonio.to_json_value(self.result, "result"),
        }

    def summary(self) -> str:
        """`100 processed, 50 created, 50 updated, 0 skipped in 5432 ms`."""
        return f"{self.metrics.summary()} in {self.duration_ms} ms"

    def log(self, logger: logging.Logger, **fields: Any) -> None:
        """Log the run as one event, `job succeeded`; *fields* join the ids (token, worker)."""
        log.event(
            logger,
            _LEVELS.get(self.status, logging.INFO),
            f"job {self.status}",
            text=self.summary(),
            details={**self.metrics.to_dict(), "duration_ms": self.duration_ms},
            job_id=self.job_id,
            job_type=self.name,
            attempt=self.attempt,
            error_code=self.error.code if self.error else None,
            error=self.error.message if self.error else None,
            **fields,
        )
