"""The calls about schedules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgqueue.calls.core import Call, nothing, scalar

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from pgqueue.calls.core import Row

__all__ = [
    "next_ticks",
    "pause_schedule",
    "register_schedules",
    "remove_schedule",
    "resume_schedule",
    "run_schedule_now",
    "set_schedule",
]


def register_schedules(declarations: Sequence[Mapping[str, Any]]) -> Call[None]:
    """
    Declare schedules, as pgqueue.register_schedules() says.

    Raises:
        InvalidArgument: An expression or a time zone that makes no sense.
    """
    rows = json.dumps([dict(one) for one in declarations])
    return Call("select pgqueue.register_schedules(%s::jsonb)", (rows,), nothing)


def set_schedule(
    name: str,
    *,
    cron: str | None = None,
    job_type: str | None = None,
    payload: str | None = None,
    time_zone: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    overlap: str | None = None,
    catch_up: str | None = None,
    catch_up_max: int | None = None,
    grace: dt.timedelta | None = None,
    jitter: dt.timedelta | None = None,
    enabled: bool | None = None,
    description: str | None = None,
) -> Call[Any]:
    """
    Create a schedule or change it; None leaves a setting as it is. Answers the next tick.

    Args:
        name: The schedule.
        cron: When it ticks; a new one needs this and the job type.
        job_type: What it enqueues.
        payload: A JSON object, as text.
        time_zone: In whose local time.
        queue: Instead of the type's.
        priority: 0 to 3.
        overlap: allow, skip or queue.
        catch_up: skip, one or all.
        catch_up_max: With all: at most so many.
        grace: A tick that is later was missed.
        jitter: Jobs start within this time after the tick.
        enabled: Whether it ticks.
        description: For people.

    Raises:
        InvalidArgument: No such schedule, or an expression or a time zone that makes no sense.
    """
    query = """select pgqueue.set_schedule(%s, %s, %s, %s::jsonb, %s, %s, %s,
        p_overlap => %s, p_catch_up => %s, p_catch_up_max => %s, p_grace => %s, p_jitter => %s,
        p_enabled => %s, p_description => %s)"""
    values = (name, cron, job_type, payload, time_zone, queue, priority)
    more = (overlap, catch_up, catch_up_max, grace, jitter, enabled, description)
    return Call(query, (*values, *more), scalar)


def pause_schedule(name: str, *, reason: str | None = None) -> Call[None]:
    """
    Let its ticks pass.

    Raises:
        InvalidArgument: No such schedule.
    """
    return Call("select pgqueue.pause_schedule(%s, %s)", (name, reason), nothing)


def resume_schedule(name: str) -> Call[Any]:
    """
    Let a paused schedule tick again; answers when.

    Raises:
        InvalidArgument: No such schedule.
    """
    return Call("select pgqueue.resume_schedule(%s)", (name,), scalar)


def remove_schedule(name: str) -> Call[bool]:
    """Forget a schedule; its jobs and its history stay. False: there was none."""
    return Call("select pgqueue.remove_schedule(%s)", (name,), scalar)


def run_schedule_now(name: str) -> Call[UUID]:
    """
    Enqueue its job now, whatever its state; answers the job's id.

    Raises:
        InvalidArgument: No such schedule.
    """
    return Call("select pgqueue.run_schedule_now(%s)", (name,), scalar)


def next_ticks(
    cron: str, *, time_zone: str = "UTC", after: dt.datetime | None = None, count: int = 10
) -> Call[list[dt.datetime]]:
    """
    When an expression ticks next.

    Args:
        cron: Five or six fields.
        time_zone: An IANA name.
        after: Strictly after this aware time; None: now.
        count: How many.

    Raises:
        InvalidArgument: An expression or a time zone that makes no sense.
    """
    query = "select * from pgqueue.next_ticks(%s, %s, coalesce(%s, clock_timestamp()), %s)"
    return Call(query, (cron, time_zone, after, count), _first_column)


def _first_column(rows: Sequence[Row]) -> list[Any]:
    return [row[0] for row in rows]
