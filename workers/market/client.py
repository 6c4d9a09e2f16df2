"""The service: which addresses, which pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.http import BadAnswer, HttpClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.market.settings import Settings

IDS_PER_REQUEST = 100  # of /simple/price: an address has a length


async def markets(client: HttpClient, settings: Settings, limit: int) -> list[Any]:
    """The *limit* largest coins; a page that is not full is the last."""
    coins: list[Any] = []
    size = min(settings.page_size, limit)
    page = 0
    while len(coins) < limit:
        page += 1
        answer = await client.get(
            "/coins/markets",
            vs_currency=settings.currency,
            order="market_cap_desc",
            per_page=size,
            page=page,
        )
        found = _list(answer, "/coins/markets")
        coins += found
        if len(found) < size:
            break
    return coins[:limit]


async def quotes(
    client: HttpClient, settings: Settings, asset_ids: Sequence[str]
) -> dict[str, Any]:
    """The prices of these, as far as the service knows them."""
    found: dict[str, Any] = {}
    for start in range(0, len(asset_ids), IDS_PER_REQUEST):
        answer = await client.get(
            "/simple/price",
            ids=",".join(asset_ids[start : start + IDS_PER_REQUEST]),
            vs_currencies=settings.currency,
            include_last_updated_at="true",
        )
        if not isinstance(answer, dict):
            raise BadAnswer(f"{settings.source}: /simple/price answers no object")
        found |= answer
    return found


async def platforms(client: HttpClient) -> list[Any]:
    """Every coin, with its contracts."""
    return _list(await client.get("/coins/list", include_platform="true"), "/coins/list")


def _list(answer: object, path: str) -> list[Any]:
    if not isinstance(answer, list):
        raise BadAnswer(f"{path} answers no list")
    return answer
