"""Import a CSV of prices: the import and its completion commit together, or neither does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from pgqueue import JobContext, job, jsonio

from .price_file import data_file, read_prices

if TYPE_CHECKING:
    from .price_file import Price

ROWS_PER_STEP = 50


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What the import did; stored as the job's result."""

    rows: int
    created: int
    updated: int
    skipped: int
    refused: int


@job("import_prices", retries=3, timeout=60, transactional=True)
async def import_prices(ctx: JobContext, file: str, pause_seconds: float = 0) -> ImportReport:
    """
    Import a CSV of prices; rows that are wrong are reported, the rest is taken.

    Args:
        ctx: The run.
        file: A name in the data folder.
        pause_seconds: Rest after each step, to spare a busy database (or to let people watch).
    """
    prices, problems = await asyncio.to_thread(read_prices, data_file(file))
    for problem in problems:
        ctx.error(problem.message, code=problem.code, item=problem.row)
    ctx.metrics.processed(len(prices) + len(problems))
    # In the order of the key: two imports that run at once lock rows in the same order.
    prices.sort(key=lambda price: price.sku)
    for start in range(0, len(prices), ROWS_PER_STEP):
        ctx.check_cancelled()
        step = prices[start : start + ROWS_PER_STEP]
        await _store(ctx, step)
        done = start + len(step)
        ctx.progress(100 * done / len(prices), f"{done} of {len(prices)} prices")
        await asyncio.sleep(pause_seconds)
    counts = ctx.metrics
    if counts.items_created or counts.items_updated:
        # Enqueued if and only if this transaction commits.
        ctx.enqueue("price_statistics", {"file": file}, queue=ctx.queue)
    return ImportReport(
        rows=counts.items_processed,
        created=counts.items_created,
        updated=counts.items_updated,
        skipped=counts.items_skipped,
        refused=len(problems),
    )


async def _store(ctx: JobContext, step: list[Price]) -> None:
    connection: Any = ctx.connection
    cursor = await connection.execute(
        "select created, updated, skipped from demo.upsert_prices(%s)",
        [Jsonb(step, dumps=jsonio.dumps)],
    )
    created, updated, skipped = await cursor.fetchone()
    ctx.metrics.created(created)
    ctx.metrics.updated(updated)
    ctx.metrics.skipped(skipped)
