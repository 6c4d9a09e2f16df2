"""
sync_stock: the stock levels of an API, page by page.

    GET {WAREHOUSE_STOCK_URL}/stock?tenant=acme&page=1
    200 {"items": [{"sku": "BOLT-M6", "location": "A-01", "quantity": 240}, ...], "next_page": 2}

The last page has `next_page` null. Each page is stored together with the number of the next one:
an attempt that was told to come later (429), or was killed, goes on at its page.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from pgqueue import Backoff, JobContext, job
from workers.http import BadAnswer, HttpClient

from .checkpoint import ImportReport, Place, opened
from .kinds import KINDS
from .rows import checked
from .settings import stock_service, tenant_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.http import Service

    from .rows import Problem, Row

__all__ = ["sync_stock"]

PAGES_MAX = 100_000
ITEMS_PER_PAGE_MAX = 10_000
_KIND = KINDS["stock_levels"]


# Its attempts are used up by answers 429 as well: an API that paces us must not end the job.
@job("sync_stock", retries=50, timeout=3600, backoff=Backoff(base=1, factor=2, cap=300))
def sync_stock(ctx: JobContext) -> ImportReport:
    """Store what the API says of the tenant's stock."""
    service, tenant = stock_service(), tenant_of(ctx)
    with (
        opened(ctx, "stock_sync", source=service.url, fingerprint=service.url) as at,
        asyncio.Runner() as runner,
    ):
        while not at.place.done:
            ctx.check_cancelled()
            page = max(at.place.reached, 1)
            items, following = read_page(runner.run(_fetch(service, tenant, page)), page)
            line = at.place.line
            after = Place(following or page, line + len(items), done=not following)
            at.store(_KIND, _rows(items, first=line + 1), partial(_at, after))
            ctx.progress(0, f"page {page}, {after.line} items")
        return at.report(ctx)


def _at(place: Place, _count: int) -> Place:
    return place


async def _fetch(service: Service, tenant: str, page: int) -> Any:
    async with HttpClient(service) as client:
        return await client.get("/stock", tenant=tenant, page=page)


def read_page(answer: Any, page: int) -> tuple[list[Any], int]:
    """
    Check an answer.

    Returns:
        Its items, and the number of the next page; 0 = this was the last.

    Raises:
        BadAnswer: It is not a page, or leads back or nowhere.
    """
    match answer:
        case {"items": list(items), "next_page": None}:
            following = 0
        case {"items": list(items), "next_page": int(following)}:
            if not page < following <= PAGES_MAX:
                raise BadAnswer(f"stock API: page {page} is followed by page {following}")
        case _:
            raise BadAnswer(f"stock API: page {page} has no `items` and `next_page`")
    if len(items) > ITEMS_PER_PAGE_MAX:
        raise BadAnswer(f"stock API: page {page} has more than {ITEMS_PER_PAGE_MAX} items")
    return items, following


def _rows(items: list[Any], *, first: int) -> Iterator[Row | Problem]:
    """As the rows of a file; their number counts the items of all pages."""
    names = [column.name for column in _KIND.columns]
    for number, item in enumerate(items, start=first):
        given = item if isinstance(item, dict) else {}
        values = [_text(given.get(name)) for name in names]
        yield checked(number, _KIND, values)


def _text(value: Any) -> Any:
    return str(value) if type(value) is int else value
