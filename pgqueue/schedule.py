"""Schedules that are declared next to their handler, or in the environment."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pgqueue import jsonio
from pgqueue.errors import ConfigurationError, InvalidArgument
from pgqueue.follow_up import seconds_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

__all__ = ["CatchUp", "Overlap", "Schedule", "declared", "registrations"]

Overlap = Literal["allow", "skip", "queue"]
CatchUp = Literal["skip", "one", "all"]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """
    When a handler's jobs are enqueued. The expression is read by the database, at worker start.

    Attributes:
        cron: Five fields, or six with seconds first, or @hourly, @daily and the like.
        name: Names it among all schedules; by default the job type.
        time_zone: In whose local time, an IANA name.
        payload: Of its jobs.
        priority: 0 high, 1 normal, 2 low, 3 bulk.
        overlap: While the job of the run before has not finished: "allow" another one, "skip" the
            tick, or "queue" one that runs after it.
        catch_up: Of the ticks that were missed while no worker ran: "skip" them, run "one" (the
            latest), or "all".
        catch_up_max: With "all": at most so many, the latest.
        grace: A tick that is later than this was missed; seconds or a timedelta.
        jitter: Jobs start at random within this time after the tick; seconds or a timedelta.
        enabled: False: it is known, and does not tick.

    Raises:
        InvalidArgument: A time that is none.
    """

    cron: str
    name: str | None = None
    time_zone: str = "UTC"
    payload: Mapping[str, object] = dataclasses.field(default_factory=dict)
    priority: int = 1
    overlap: Overlap = "allow"
    catch_up: CatchUp = "one"
    catch_up_max: int = 100
    grace: float | dt.timedelta = 60
    jitter: float | dt.timedelta = 0
    enabled: bool = True

    def __post_init__(self) -> None:
        self.registration("check", None)

    def registration(self, job_type: str, description: str | None) -> dict[str, Any]:
        """One element of what pgqueue.register_schedules() takes."""
        return {
            "name": self.name or job_type,
            "job_type": job_type,
            "cron": self.cron,
            "time_zone": self.time_zone,
            "payload": jsonio.to_json_value(dict(self.payload), "payload"),
            "priority": self.priority,
            "overlap": self.overlap,
            "catch_up": self.catch_up,
            "catch_up_max": self.catch_up_max,
            "grace_seconds": _seconds("grace", self.grace),
            "jitter_seconds": _seconds("jitter", self.jitter),
            "enabled": self.enabled,
            "description": description,
        }


def declared(given: str | Schedule | Iterable[Schedule] | None) -> tuple[Schedule, ...]:
    """
    Read the option `schedule` of `@job`.

    Raises:
        InvalidArgument: It is neither an expression nor schedules, or two need a name.
    """
    match given:
        case None:
            return ()
        case str():
            return (Schedule(cron=given),)
        case Schedule():
            return (given,)
        case _:
            found = tuple(given)
    if not all(isinstance(one, Schedule) for one in found):
        raise InvalidArgument("schedule must be a cron expression, a Schedule or several")
    if len({one.name for one in found}) < len(found):
        raise InvalidArgument("schedules of one handler need names of their own")
    return found


def registrations(
    job_type: str,
    schedules: Iterable[Schedule],
    *,
    description: str | None,
    environ: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """
    What one handler registers: its declarations, as the environment changes them.

    SEND_REPORT_SCHEDULE replaces the expression of the schedule send_report, or creates it;
    SEND_REPORT_ENABLED=false switches it off; SEND_REPORT_LIMIT=50 gives its jobs "limit": 50.

    Args:
        job_type: The handler's.
        schedules: As declared.
        description: The handler's.
        environ: By default the process's.

    Raises:
        ConfigurationError: NAME_ENABLED is neither yes nor no, or NAME_LIMIT no number above 0.
    """
    environ = os.environ if environ is None else environ
    found = list(schedules)
    if f"{_prefix(job_type)}_SCHEDULE" in environ and all(one.name for one in found):
        found.append(Schedule(cron=environ[f"{_prefix(job_type)}_SCHEDULE"], name=job_type))
    return [
        _overridden(one, one.name or job_type, environ).registration(job_type, description)
        for one in found
    ]


def _overridden(schedule: Schedule, name: str, environ: Mapping[str, str]) -> Schedule:
    cron = environ.get(f"{_prefix(name)}_SCHEDULE", schedule.cron)
    switch = environ.get(f"{_prefix(name)}_ENABLED", "").strip().lower()
    if switch and switch not in _TRUE | _FALSE:
        raise ConfigurationError(f"{_prefix(name)}_ENABLED is {switch!r}, neither true nor false")
    enabled = switch in _TRUE if switch else schedule.enabled
    limit = environ.get(f"{_prefix(name)}_LIMIT", "").strip()
    payload = {**schedule.payload, "limit": _limit(name, limit)} if limit else schedule.payload
    return dataclasses.replace(schedule, cron=cron, enabled=enabled, payload=payload)


def _limit(name: str, given: str) -> int:
    # Not int() alone: it takes "1_000" and digits of every script.
    if not re.fullmatch(r"[0-9]{1,18}", given) or int(given) < 1:
        raise ConfigurationError(f"{_prefix(name)}_LIMIT is {given!r}, not a whole number above 0")
    return int(given)


def _prefix(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII).upper()


def _seconds(what: str, value: float | dt.timedelta) -> float:
    return 0.0 if not value else seconds_of(what, value, seconds_max=86_400)
