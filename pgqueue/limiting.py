"""Limits that are declared next to their handler, or in the environment."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from pgqueue.errors import ConfigurationError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_max_running", "parse_rate", "registrations"]

MAX_RUNNING_MAX = 10_000  # the CHECK of pgqueue.limits
RATE_MAX = 1_000_000
_UNITS = {"s": 1, "second": 1, "m": 60, "minute": 60, "h": 3600, "hour": 3600, "day": 86_400}
_RATE = re.compile(r"(?a:(\d{1,7})\s*/\s*(\d{0,6})\s*([a-z]+?)s?)")


def parse_rate(text: object) -> tuple[int, float]:
    """
    Read `100/minute`, `5/s` or `20/30 seconds`: so many, per so many seconds.

    Raises:
        InvalidArgument: It reads otherwise, or says more than the database takes.
    """
    found = _RATE.fullmatch(text.strip().lower()) if isinstance(text, str) else None
    unit = _UNITS.get(found[3] or "s") if found else None
    if found is None or unit is None:
        raise InvalidArgument(
            f"a rate is written 100/minute, 5/second or 20/30 seconds, not {text!r}"
        )
    jobs, seconds = int(found[1]), float(found[2] or 1) * unit
    if not 1 <= jobs <= RATE_MAX or not 0 < seconds <= 30 * 86_400:
        raise InvalidArgument(f"a rate is 1 to {RATE_MAX:,} jobs per at most 30 days, not {text!r}")
    return jobs, seconds


def check_max_running(name: str, value: int | None) -> int | None:
    """
    Check a number of jobs that may run at once.

    Raises:
        InvalidArgument: It is none.
    """
    if value is not None and (type(value) is not int or not 1 <= value <= MAX_RUNNING_MAX):
        raise InvalidArgument(f"{name} must be 1 to {MAX_RUNNING_MAX:,}, not {value!r}")
    return value


def registrations(
    job_type: str,
    *,
    max_running: int | None,
    max_running_per_key: int | None,
    rate: tuple[int, float] | None,
    environ: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """
    What pgqueue.register_limits() takes of one handler.

    SEND_REPORT_MAX_RUNNING=5 in the environment replaces the max_running of send_report.

    Args:
        job_type: The handler's.
        max_running: As declared.
        max_running_per_key: As declared, for each concurrency_key alone.
        rate: So many, per so many seconds.
        environ: By default the process's.

    Raises:
        ConfigurationError: A value of NAME_MAX_RUNNING that is no number.
    """
    name = re.sub(r"\W", "_", job_type, flags=re.ASCII).upper() + "_MAX_RUNNING"
    given = (os.environ if environ is None else environ).get(name, "").strip()
    if given:
        try:
            max_running = check_max_running(name, int(given))
        except (InvalidArgument, ValueError):
            raise ConfigurationError(
                f"{name} is {given!r}, not a number from 1 to {MAX_RUNNING_MAX:,}"
            ) from None
    found: list[dict[str, Any]] = []
    if max_running is not None or rate is not None:
        jobs, seconds = rate or (None, None)
        limit = {"max_running": max_running, "rate_jobs": jobs, "rate_seconds": seconds}
        found.append({"kind": "job_type", "name": job_type, **limit})
    if max_running_per_key is not None:
        found.append({"kind": "key", "name": job_type, "max_running": max_running_per_key})
    return found
