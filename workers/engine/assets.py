"""calculate_asset_values: what each asset is worth on a day, at the prices of the pricing API."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from pgqueue import Backoff, Fail, JobContext, job, jsonio

from .order_form import CURRENCY
from .pricing import fetch_prices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

__all__ = ["calculate_asset_values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesReport:
    """What the valuation came to; stored as the job's result."""

    valued_on: dt.date
    currency: str
    value: Decimal
    created: int
    updated: int
    skipped: int
    refused: int


@job(
    "calculate_asset_values",
    retries=5,
    timeout=300,
    transactional=True,
    backoff=Backoff(base=2, factor=2, cap=300),
)
async def calculate_asset_values(
    ctx: JobContext,
    currency: str,
    symbols: list[str] | None = None,
    valued_on: dt.date | None = None,
) -> ValuesReport:
    """
    Value assets; the same prices again change nothing.

    Args:
        ctx: The run.
        currency: Of the valuation, such as EUR.
        symbols: Which; by default all.
        valued_on: The day; by default that of the job's insert, whenever it runs.
    """
    if not CURRENCY.match(currency):
        raise Fail("currency is no code such as EUR", code="bad_currency", item="currency")
    day = valued_on or (ctx.created_at or dt.datetime.now(dt.UTC)).astimezone(dt.UTC).date()
    wanted = await _known(ctx, symbols)
    began = time.monotonic()
    prices = (await fetch_prices({currency: wanted}))[currency]
    ctx.metrics.add("pricing_ms", round((time.monotonic() - began) * 1000))
    for symbol in wanted:
        if symbol not in prices:
            message = f"{symbol} has no price in {currency}"
            ctx.error(message, code="no_price", item={"symbol": symbol})
    if not prices:
        raise Fail("not one asset could be valued", code="nothing_valued")
    rows = [{"symbol": symbol, "price": price} for symbol, price in prices.items()]
    cursor = await ctx.connection.execute(
        "select created, updated, skipped, value from engine.store_valuations(%s, %s, %s, %s)",
        [ctx.id, day, currency, Jsonb(rows, dumps=jsonio.dumps)],
    )
    created, updated, skipped, value = await cursor.fetchone()
    for symbol in prices:
        ctx.created("Asset", symbol)
    ctx.metrics.processed(created + updated + skipped + len(ctx.errors))
    ctx.metrics.created(created)
    ctx.metrics.updated(updated)
    ctx.metrics.skipped(skipped)
    return ValuesReport(
        valued_on=day,
        currency=currency,
        value=value,
        created=created,
        updated=updated,
        skipped=skipped,
        refused=len(ctx.errors),
    )


async def _known(ctx: JobContext, symbols: Sequence[str] | None) -> list[str]:
    """The assets to value; a symbol that is none is reported."""
    if symbols is None:
        cursor = await ctx.connection.execute("select symbol from engine.all_symbols()")
        return [symbol for (symbol,) in await cursor.fetchall()]
    wanted = sorted(set(symbols))
    cursor = await ctx.connection.execute("select symbol from engine.known_symbols(%s)", [wanted])
    known = {symbol for (symbol,) in await cursor.fetchall()}
    for symbol in wanted:
        if symbol not in known:
            message = "there is no asset with this symbol"
            ctx.error(message, code="unknown_asset", item={"symbol": symbol[:50]})
    return sorted(known)
