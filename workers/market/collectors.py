"""
The jobs: each fetches all it needs, then stores it in one statement.

They are transactional, so that what is counted is what is stored: an attempt that dies, or is told
by the service to come later, leaves nothing. Their transactions are open while they fetch, a few
seconds as a rule; the timeout bounds it.

A second run finds the same natural keys and the same values: created 0, updated 0.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from pgqueue import Backoff, Fail, JobContext, Schedule, job, jsonio
from workers.http import HttpClient

from . import client, coins
from .settings import LIMIT_MAX, Settings

if TYPE_CHECKING:
    from .coins import Rows

# Nonsense in the environment ends the worker at its start, not each job at its own.
Settings.read()

_BACKOFF = Backoff(base=5, factor=3, cap=600)


@dataclass(frozen=True, slots=True)
class Collected:
    """What a run did; the job's result."""

    created: int
    updated: int
    skipped: int
    refused: int
    requests: int

    @property
    def changed(self) -> bool:
        """Whether the tables are other than before."""
        return self.created + self.updated > 0


@job(
    "top_coins_collection",
    retries=5,
    timeout=180,
    transactional=True,
    backoff=_BACKOFF,
    schedule=Schedule(cron="0 0 0 * * *", overlap="skip"),
)
async def top_coins_collection(ctx: JobContext, limit: int | None = None) -> Collected:
    """Store the largest coins of the day: daily at 00:00 UTC."""
    settings = Settings.read()
    wanted = _limit(ctx, settings, limit)
    async with HttpClient(settings.service) as http:
        items = await client.markets(http, settings, wanted)
        found = coins.rankings(items, day=_asked_at(ctx).date(), settings=settings)
        ctx.progress(50, f"{len(items)} coins fetched")
        return await _store(
            ctx, "select * from market.upsert_asset_rankings(%s)", found, requests=http.requests
        )


@job(
    "price_collection",
    retries=5,
    timeout=180,
    transactional=True,
    backoff=_BACKOFF,
    schedule=Schedule(cron="0 */15 * * * *", overlap="skip", catch_up="skip"),
)
async def price_collection(ctx: JobContext, limit: int | None = None) -> Collected:
    """Store the prices of the ranked coins, to the minute: every 15 minutes."""
    settings = Settings.read()
    ranked = await _ranked(ctx, settings, _limit(ctx, settings, limit))
    async with HttpClient(settings.service) as http:
        answer = await client.quotes(http, settings, ranked)
        found = coins.prices(answer, ranked, now=_asked_at(ctx), settings=settings)
        ctx.progress(50, f"{len(found.rows)} prices fetched")
        return await _store(
            ctx, "select * from market.upsert_asset_prices(%s)", found, requests=http.requests
        )


@job(
    "contract_addresses_collection",
    retries=5,
    timeout=180,
    transactional=True,
    backoff=_BACKOFF,
    schedule=Schedule(cron="0 0 1 * * *", overlap="skip"),
)
async def contract_addresses_collection(ctx: JobContext, limit: int | None = None) -> Collected:
    """Store the contracts of the ranked coins on every chain: daily at 01:00 UTC."""
    settings = Settings.read()
    ranked = await _ranked(ctx, settings, _limit(ctx, settings, limit))
    async with HttpClient(settings.service) as http:
        items = await client.platforms(http)
        found = coins.contracts(items, frozenset(ranked), settings)
        ctx.progress(50, f"{len(found.rows)} contracts fetched")
        return await _store(
            ctx, "select * from market.upsert_asset_contracts(%s)", found, requests=http.requests
        )


def _limit(ctx: JobContext, settings: Settings, limit: int | None) -> int:
    wanted = settings.limits[ctx.job_type] if limit is None else limit
    if not 1 <= wanted <= LIMIT_MAX:
        raise Fail(f"limit is {wanted}, not 1 to {LIMIT_MAX}", code="bad_limit")
    return wanted


def _asked_at(ctx: JobContext) -> dt.datetime:
    # Of the job, not of the attempt: one that is retried after midnight is still yesterday's.
    return (ctx.created_at or dt.datetime.now(dt.UTC)).astimezone(dt.UTC)


async def _ranked(ctx: JobContext, settings: Settings, limit: int) -> list[str]:
    connection: Any = ctx.connection
    cursor = await connection.execute(
        "select asset_id from market.ranked_assets(%s, %s)", [settings.source, limit]
    )
    found = [asset_id for (asset_id,) in await cursor.fetchall()]
    if not found:
        raise Fail(
            f"{settings.source} has ranked nothing yet: run top_coins_collection first",
            code="no_ranking",
        )
    return found


async def _store(ctx: JobContext, upsert: str, found: Rows, *, requests: int) -> Collected:
    for item, message in found.problems:
        ctx.error(message, code="bad_item", item=item)
    connection: Any = ctx.connection
    cursor = await connection.execute(upsert, [Jsonb(found.rows, dumps=jsonio.dumps)])
    created, updated, same = await cursor.fetchone()
    done = Collected(created, updated, same + found.skipped, len(found.problems), requests)
    ctx.metrics.processed(found.processed)
    ctx.metrics.created(created)
    ctx.metrics.updated(updated)
    ctx.metrics.skipped(done.skipped)
    ctx.metrics.add("requests", requests)
    ctx.logger.info("collected" if done.changed else "nothing has changed")
    return done
