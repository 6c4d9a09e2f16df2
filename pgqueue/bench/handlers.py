"""The handlers of the benchmark's jobs; `pgqueue worker --app pgqueue.bench.handlers` runs them."""

from __future__ import annotations

import time

from pgqueue.bench.queries import statement
from pgqueue.bench.stamps import write_stamp
from pgqueue.context import JobContext  # noqa: TC001  # binding reads the annotation
from pgqueue.registry import Registry

__all__ = ["registry"]

registry = Registry("bench")


@registry.job("bench_noop")
async def noop(n: int) -> None:
    """Do nothing."""


@registry.job("bench_stamp")
async def stamp(sent: float) -> None:
    """Write down when the job was sent and when it started here."""
    write_stamp(sent, time.time())


@registry.job("bench_heavy", transactional=True, timeout=60)
async def heavy(ctx: JobContext, n: int, text: str) -> dict[str, object]:
    """Use what costs most: a transaction, progress, a result, a created entity, metrics."""
    ctx.progress(50, "half")
    await ctx.connection.execute(statement("effect"), (ctx.id,))
    ctx.created("Effect", n)
    ctx.metrics.items_processed = 1
    ctx.progress(100, "done")
    return {"n": n, "length": len(text), "text": text}
