"""The consumer: one demand, one work, once, whatever happens to the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pgqueue import Fail, JobContext, job

from .settings import ADD_UP_TO_MAX


@dataclass(frozen=True, slots=True)
class Work:
    """What came of a demand; the job's result."""

    work_code: str
    add_up_to: int
    total: int
    done: bool = True


def sum_up_to(bound: int) -> int:
    """0 + 1 + ... + *bound*."""
    return bound * (bound + 1) // 2


@job("work_demand", retries=3, timeout=60, transactional=True)
async def work_demand(
    ctx: JobContext, add_up_to: int, work_code: str | None = None, *, done: bool = False
) -> Work | None:
    """
    Compute the work that a demand asks for; row, events and completion commit together.

    Args:
        ctx: The run.
        add_up_to: 0 to 1,000,000,000.
        work_code: Of a work that is there; without it, one is made.
        done: A demand that says so asks for nothing.

    Raises:
        Fail: The bound makes no sense, or there is no such work.
    """
    ctx.metrics.processed()
    if done:
        ctx.metrics.skipped()
        return None
    if not 0 <= add_up_to <= ADD_UP_TO_MAX:
        raise Fail(f"add_up_to is {add_up_to}, not 0 to {ADD_UP_TO_MAX}", code="bad_bound")
    work = await _started(ctx, add_up_to, work_code)
    if work is None:
        raise Fail("there is no such work", code="unknown_work", item=work_code)
    code, bound, is_done = work
    total = sum_up_to(bound)
    if is_done:
        ctx.metrics.skipped()
    else:
        await _finished(ctx, code, total)
        ctx.metrics.created()
        ctx.created("Work", code)
    return Work(code, bound, total)


async def _started(
    ctx: JobContext, add_up_to: int, work_code: str | None
) -> tuple[str, int, bool] | None:
    connection: Any = ctx.connection
    cursor = await connection.execute(
        "select work_code, add_up_to, done from numbers.start_work(%s, %s, %s, %s)",
        [ctx.id, ctx.attempt, add_up_to, work_code],
    )
    found: tuple[str, int, bool] | None = await cursor.fetchone()
    return found


async def _finished(ctx: JobContext, work_code: str, total: int) -> None:
    connection: Any = ctx.connection
    await connection.execute(
        "select numbers.finish_work(%s, %s, %s)", [work_code, ctx.attempt, total]
    )
