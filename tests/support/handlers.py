"""
Handlers for tests of the worker: an app that real worker processes load.

Those that take `gate` say in the file `<gate>.started` that they run, and wait for the file
`<gate>`.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from pgqueue import JobContext, Registry

GATE_SECONDS = 60.0
_TICK_SECONDS = 0.01

jobs = Registry("handlers for tests")


def _knock(gate: str) -> tuple[Path, float]:
    # Renamed, so that whoever sees the file sees all of it.
    partial = Path(f"{gate}.partial-{os.getpid()}")
    partial.write_text(str(os.getpid()))
    partial.rename(f"{gate}.started")
    return Path(gate), time.monotonic() + GATE_SECONDS


@jobs.job
async def nothing() -> None:
    """Succeed."""


@jobs.job
async def task_gate(gate: str) -> str:
    """Wait for the gate in a task."""
    return await _wait(gate)


@jobs.job
def thread_gate(ctx: JobContext, gate: str) -> str:
    """Wait for the gate in a thread, and stop when asked to."""
    path, deadline = _knock(gate)
    while not path.exists() and time.monotonic() < deadline:
        ctx.check_cancelled()
        time.sleep(_TICK_SECONDS)
    return "through"


@jobs.job
def deaf_gate(gate: str) -> str:
    """Wait for the gate in a thread, whatever anybody asks."""
    path, deadline = _knock(gate)
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS)
    return "through"


@jobs.job(isolation="process")
def process_gate(gate: str) -> str:
    """Wait for the gate in a child process."""
    path, deadline = _knock(gate)
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS)
    return "through"


@jobs.job(transactional=True)
async def transaction_gate(ctx: JobContext, gate: str) -> str:
    """Write, then wait for the gate with the transaction open."""
    await ctx.connection.execute("insert into public.written values (%s)", (ctx.id,))
    return await _wait(gate)


@jobs.job
async def in_task(ctx: JobContext, word: str) -> dict[str, Any]:
    """Answer from a task."""
    return _answer(ctx, word)


@jobs.job
def in_thread(ctx: JobContext, word: str) -> dict[str, Any]:
    """Answer from a thread."""
    return _answer(ctx, word)


@jobs.job(isolation="process")
def in_process(ctx: JobContext, word: str) -> dict[str, Any]:
    """Answer from a child process."""
    return _answer(ctx, word)


@jobs.job(transactional=True)
async def write_in_task(ctx: JobContext, *, fail: bool = False) -> None:
    """Write a row in the job's transaction."""
    await ctx.connection.execute("insert into public.written values (%s)", (ctx.id,))
    _fail(fail=fail)


@jobs.job(transactional=True)
def write_in_thread(ctx: JobContext, *, fail: bool = False) -> None:
    """Write a row in the job's transaction, from a thread."""
    ctx.connection.execute("insert into public.written values (%s)", (ctx.id,))
    _fail(fail=fail)


@jobs.job(transactional=True, isolation="process")
def write_in_process(ctx: JobContext, *, fail: bool = False) -> None:
    """Write a row in the job's transaction, from a child process."""
    ctx.connection.execute("insert into public.written values (%s)", (ctx.id,))
    _fail(fail=fail)


@jobs.job(transactional=True)
async def write_and_nap(ctx: JobContext, seconds: float) -> None:
    """Write a row in the job's transaction, and take a while."""
    await ctx.connection.execute("insert into public.written values (%s)", (ctx.id,))
    await asyncio.sleep(seconds)


@jobs.job(isolation="process", retries=0)
def die() -> None:
    """End the child process."""
    os._exit(3)


async def _wait(gate: str) -> str:
    path, deadline = _knock(gate)
    while not path.exists() and time.monotonic() < deadline:  # noqa: ASYNC110  # a file has no event
        await asyncio.sleep(_TICK_SECONDS)
    return "through"


def _answer(ctx: JobContext, word: str) -> dict[str, Any]:
    ctx.progress(50, "half way")
    ctx.metrics.processed(2)
    ctx.created("word", word)
    ctx.enqueue("nothing")
    return {"word": word, "pid": os.getpid()}


def _fail(*, fail: bool) -> None:
    if fail:
        raise ValueError("as the payload wished")
