"""
How a run of a handler ends: what the handler may raise, and what is reported for it.

    return value       succeeded, or partial when errors were recorded
    raise Retry        again later; counts as an attempt
    raise Snooze       again later; does not count
    raise WaitFor      again when a signal comes; does not count
    raise Cancel       cancelled
    raise Fail         failed, whatever attempts are left
    any other raise    retried with backoff until the attempts are used up

Outcomes are not errors of pgqueue, so that `except PgqueueError` in a handler lets them pass.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any, Literal

from pgqueue import jsonio
from pgqueue.errors import InvalidArgument, PayloadError, ResultNotSerializable
from pgqueue.follow_up import DELAY_SECONDS_MAX
from pgqueue.result import JobError

__all__ = ["Cancel", "Fail", "Outcome", "Retry", "Snooze", "WaitFor", "outcome_of"]

REASON_CHARACTERS_MAX = 1_000
_SIGNAL_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")  # signals_name_check

# What `after` and `delay` take: seconds, a timedelta, or an aware datetime.
When = float | dt.timedelta | dt.datetime


class Outcome(Exception):
    """The root of what a handler raises to say how its job goes on."""

    # Subclasses build their message; pickle (child processes) must not feed it to __init__ again.
    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(kind: type[Outcome], args: tuple[Any, ...], state: dict[str, Any]) -> Outcome:
    outcome = kind.__new__(kind)
    outcome.args = args
    outcome.__dict__.update(state)
    return outcome


class Retry(Outcome):
    """
    Run the job again. The attempt counts; when none is left the job fails.

    Args:
        after: Seconds, a timedelta or an aware datetime; None takes the job type's backoff.
        reason: Stored with the attempt.

    Raises:
        InvalidArgument: A negative or endless delay, or a naive datetime.
    """

    def __init__(self, after: When | None = None, *, reason: str | None = None) -> None:
        self.after = None if after is None else _checked_delay(after, "after")
        self.reason = reason
        super().__init__(reason or "retry requested by the handler")

    def delay_seconds(self, now: dt.datetime | None = None) -> float | None:
        """How long to wait from *now*; None means the job type's backoff."""
        return None if self.after is None else _seconds_until(self.after, now)


class Snooze(Outcome):
    """
    Run the job again later; this attempt does not count.

    Args:
        delay: Seconds, a timedelta or an aware datetime.
        reason: Stored with the attempt.

    Raises:
        InvalidArgument: A negative or endless delay, or a naive datetime.
    """

    def __init__(self, delay: When, *, reason: str | None = None) -> None:
        self.delay = _checked_delay(delay, "delay")
        self.reason = reason
        super().__init__(reason or "snoozed by the handler")

    def delay_seconds(self, now: dt.datetime | None = None) -> float:
        """How long to wait from *now*."""
        return _seconds_until(self.delay, now)


class WaitFor(Outcome):
    """
    Run the job again when it is told something by pgqueue.signal(); no worker is held meanwhile.

    This attempt does not count. The next one starts from the top and finds what came in
    `ctx.signals`: look there first, as `ctx.wait_for` does. A signal that is there already runs the
    job again at once.

    Args:
        signal: Its name: 1 to 100 ASCII letters, digits, `_`, `.`, `:` and `-`.
        timeout: Seconds, a timedelta or an aware datetime; None waits as long as it takes.
        on_timeout: "fail" the job (code signal_timeout), or "run" it without the signal.

    Raises:
        InvalidArgument: What cannot be a name or a delay.
    """

    def __init__(
        self,
        signal: str,
        *,
        timeout: When | None = None,
        on_timeout: Literal["fail", "run"] = "fail",
    ) -> None:
        given: object = signal
        if not isinstance(given, str) or not _SIGNAL_NAME.fullmatch(given):
            raise InvalidArgument(
                f"{signal!r} is not the name of a signal",
                hint="Give 1 to 100 ASCII letters, digits, and _ . : - characters.",
            )
        if on_timeout not in {"fail", "run"}:
            raise InvalidArgument("on_timeout must be fail or run")
        self.signal = signal
        self.timeout = None if timeout is None else _checked_delay(timeout, "timeout")
        self.on_timeout = on_timeout
        super().__init__(f"waits for signal {signal}")

    def timeout_seconds(self, now: dt.datetime | None = None) -> float | None:
        """How long to wait from *now*; None means as long as it takes."""
        return None if self.timeout is None else _seconds_until(self.timeout, now)


class Cancel(Outcome):
    """
    End the job as cancelled.

    Args:
        reason: Stored with the job.
    """

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason
        super().__init__(reason or "cancelled by the handler")


class Fail(Outcome):
    """
    End the job as failed, whatever attempts are left.

    Args:
        message: For the person who looks at the failed job.
        code: A stable name that programs can branch on.
        item: What part of the input it is about.
        details: More, as JSON; stored with the error.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        item: object = None,
        details: object = None,
    ) -> None:
        self.error = JobError(message, code=code, item=item)
        self.details = jsonio.to_json_value(details, "details")
        super().__init__(message)


def _checked_delay(value: When, name: str) -> dt.timedelta | dt.datetime:
    match value:
        case dt.datetime():
            if value.tzinfo is None:
                raise InvalidArgument(
                    f"{name} is a datetime without a time zone", hint="Add tzinfo=datetime.UTC."
                )
            return value
        case dt.timedelta():
            seconds = value.total_seconds()
        case int() | float() if not isinstance(value, bool):
            seconds = value
        case _:
            raise InvalidArgument(
                f"{name} must be seconds, a timedelta or a datetime, not {type(value).__name__}"
            )
    if not math.isfinite(seconds) or not 0 <= seconds <= DELAY_SECONDS_MAX:
        raise InvalidArgument(f"{name} must be between 0 seconds and 10 years, not {seconds:g} s")
    return value if isinstance(value, dt.timedelta) else dt.timedelta(seconds=seconds)


def _seconds_until(value: dt.timedelta | dt.datetime, now: dt.datetime | None) -> float:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return max(0.0, (value - (now or dt.datetime.now(dt.UTC))).total_seconds())


def outcome_of(exc: BaseException) -> dict[str, Any]:
    """What a run that raised *exc* reports, as pgqueue.report() takes it."""
    match exc:
        case Retry():
            wait = exc.delay_seconds()
            again = {} if wait is None else {"retry_after_seconds": wait}
            error = JobError(str(exc), code="retry_requested", retryable=True)
            return {"do": "fail", "error": error.to_dict(), **again}
        case Snooze():
            return {"do": "snooze", "delay_seconds": exc.delay_seconds()}
        case WaitFor():
            seconds = exc.timeout_seconds()
            timeout = {} if seconds is None else {"timeout_seconds": seconds}
            waits = {"signal": exc.signal, "on_timeout": exc.on_timeout}
            return {"do": "pause_until", **waits, **timeout}
        case Cancel():
            reason = jsonio.clean_text(str(exc), REASON_CHARACTERS_MAX)
            return {"do": "cancel", "reason": reason}
        case Fail():
            details = {} if exc.details is None else {"details": exc.details}
            error_row = {**exc.error.to_dict(), **details}
            return {"do": "fail", "retryable": False, "error": error_row}
        case PayloadError() | ResultNotSerializable():
            # The same payload and the same handler end the same way.
            return {
                "do": "fail",
                "retryable": False,
                "error": JobError.from_exception(exc).to_dict(),
            }
        case _:
            return {"do": "fail", "error": JobError.from_exception(exc, retryable=True).to_dict()}
