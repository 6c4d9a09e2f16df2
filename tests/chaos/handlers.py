"""The handlers of the load: what a payload asks for happens, in a task, a thread or a child."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import time
from typing import TYPE_CHECKING, Any

from pgqueue import Backoff, Fail, JobContext, Registry, Retry, Snooze
from tests.chaos import witness
from tests.chaos.flow import SIGNAL

if TYPE_CHECKING:
    from collections.abc import Mapping

witness.install()
jobs = Registry("chaos")
SOON = Backoff(base=0.05, cap=0.5)
LEDGER = "insert into chaos.ledger (job, token) values (%s, %s) returning xid::text"
MEMORY_BYTES = 512 * 1024 * 1024


async def as_wished(ctx: JobContext, **wish: Any) -> dict[str, Any]:
    """Sleep a moment in a task, then end as the payload says."""
    await asyncio.sleep(wish.get("seconds", 0.0))
    return _end(ctx, wish)


QUICK = {
    "quick": "Nothing else.",
    "keyed": "At most so many of one concurrency_key at once.",
    "limited": "At most so many at once.",
    "rated": "At most so many starts a second.",
    "ordered": "Those of one ordering_key one after another.",
    "member": "Of a batch, to which it may add, or of a tenant.",
    "paid": "Refused when its customer cannot pay.",
}
for _kind, _what in QUICK.items():
    jobs.job(_kind, backoff=SOON, description=_what)(as_wished)


@jobs.job(backoff=SOON)
def threaded(ctx: JobContext, **wish: Any) -> dict[str, Any]:
    """As `quick`, in a thread."""
    time.sleep(wish.get("seconds", 0.0))
    return _end(ctx, wish)


@jobs.job(backoff=SOON, isolation="process")
def childish(ctx: JobContext, **wish: Any) -> dict[str, Any]:
    """As `quick`, in a child process."""
    time.sleep(wish.get("seconds", 0.0))
    return _end(ctx, wish)


@jobs.job(backoff=SOON, transactional=True)
async def written(ctx: JobContext, **wish: Any) -> dict[str, Any]:
    """Write into the ledger through the transaction, in a task."""
    cursor = await ctx.connection.execute(LEDGER, (ctx.id, ctx.token))
    _effect(ctx, await cursor.fetchone())
    await asyncio.sleep(wish.get("seconds", 0.0))
    return _end(ctx, wish)


@jobs.job(backoff=SOON, transactional=True)
def written_threaded(ctx: JobContext, **wish: Any) -> dict[str, Any]:
    """As `written`, in a thread."""
    _effect(ctx, ctx.connection.execute(LEDGER, (ctx.id, ctx.token)).fetchone())
    time.sleep(wish.get("seconds", 0.0))
    return _end(ctx, wish)


@jobs.job(backoff=SOON, transactional=True, isolation="process")
def written_childish(ctx: JobContext, **wish: Any) -> dict[str, Any]:
    """As `written`, in a child process."""
    _effect(ctx, ctx.connection.execute(LEDGER, (ctx.id, ctx.token)).fetchone())
    time.sleep(wish.get("seconds", 0.0))
    return _end(ctx, wish)


@jobs.job(backoff=SOON)
async def wake() -> None:
    """Do nothing: how soon it was claimed is the question."""


@jobs.job(backoff=SOON, isolation="process", retries=1, timeout=1.5)
def poison(kind: str) -> None:
    """Kill the child process that runs it."""
    match kind:
        case "exit":
            os._exit(7)
        case "segfault":
            ctypes.string_at(0)
        case "memory":
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            _ = bytearray(MEMORY_BYTES * 2)
        case "loop":
            while True:
                pass
        case _:
            raise Fail(f"no such poison: {kind}")


@jobs.job(backoff=SOON, retries=1)
async def deadly() -> None:
    """Kill the whole worker: counted at the claim, so that it ends."""
    os._exit(8)


@jobs.job(backoff=SOON)
async def called() -> None:
    """Do nothing: that it is there, and once, is the question."""


@jobs.job(backoff=SOON)
async def asking(ctx: JobContext, **wish: Any) -> dict[str, Any]:
    """Wait for a signal, then end as the payload says."""
    told = ctx.wait_for(SIGNAL)
    if told.payload != {"said": str(ctx.id)}:
        raise Fail(f"told {told.payload!r}")
    return await as_wished(ctx, **wish)


@jobs.job(backoff=SOON, transactional=True)
async def paid_later(ctx: JobContext, **wish: Any) -> dict[str, Any]:
    """As `written`; waits when its customer cannot pay."""
    cursor = await ctx.connection.execute(LEDGER, (ctx.id, ctx.token))
    _effect(ctx, await cursor.fetchone())
    return await as_wished(ctx, **wish)


def _effect(ctx: JobContext, row: Any) -> None:
    witness.record("effect", "invoke", job=str(ctx.id), token=ctx.token, xid=row[0])


def _end(ctx: JobContext, wish: Mapping[str, Any]) -> dict[str, Any]:
    match wish.get("end"):
        case "retry" if ctx.attempt < 2:
            raise Retry(wish.get("delay"))
        case "raise" if ctx.attempt < 2:
            raise ValueError("as the payload wished")
        case "fail":
            raise Fail("as the payload wished")
        case "snooze" if time.time() < wish["until"]:
            raise Snooze(0.1)
        case "follow":
            child = ctx.enqueue("quick", {"seconds": 0.001}, queue=ctx.queue)
            witness.record("follow", "invoke", job=str(child), parent=str(ctx.id))
        case "grow":
            child = ctx.enqueue("member", {}, queue=ctx.queue, same_batch=True)
            witness.record("follow", "invoke", job=str(child), parent=str(ctx.id))
        case "cancel":
            ctx.request_cancel("as the payload wished")
        case _:
            pass
    if wish.get("big"):
        return {"job": str(ctx.id), "text": "x" * wish["big"]}
    return {"job": str(ctx.id)}
