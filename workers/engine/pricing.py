"""
The pricing API.

    GET {ENGINE_PRICING_URL}/prices?symbols=ACME,GOLD&currency=EUR
    200 {"currency": "EUR", "prices": [{"symbol": "ACME", "price": "12.50"}, ...]}

A symbol that it does not know is left out. Prices may be strings or numbers; neither is rounded.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from workers.http import BadAnswer, HttpClient, Service, ServiceUnavailable

from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["fetch_prices"]

# So that the address stays below 2,000 characters, which every server takes.
SYMBOLS_PER_QUESTION = 80
# All questions of a job: after 60 s without a statement the server ends the job's transaction.
ALL_SECONDS = 45.0
# numeric(20, 8) of engine.order_lines and engine.valuations
PRICE_MAX = Decimal(10) ** 12
PRICE_PLACES = 8


async def fetch_prices(
    wanted: Mapping[str, Iterable[str]],
) -> dict[str, dict[str, Decimal]]:
    """
    Ask for prices; what the API does not know is left out.

    Args:
        wanted: Symbols by currency.

    Raises:
        BadAnswer: It answered with something else than prices.
        ServiceUnavailable: It did not answer all questions in time.
        Exception: As workers.http says.
    """
    settings = Settings.read()
    key = {"authorization": f"Bearer {settings.pricing_key}"} if settings.pricing_key else {}
    service = Service(
        name="pricing API",
        url=settings.pricing_url,
        headers=key,
        seconds=settings.pricing_seconds,
    )
    prices: dict[str, dict[str, Decimal]] = {}
    try:
        async with asyncio.timeout(ALL_SECONDS), HttpClient(service) as client:
            for currency, symbols in wanted.items():
                prices[currency] = await _fetch(client, sorted(set(symbols)), currency)
    except TimeoutError as exc:
        raise ServiceUnavailable(f"pricing API: not done in {ALL_SECONDS:g} s") from exc
    return prices


async def _fetch(client: HttpClient, symbols: list[str], currency: str) -> dict[str, Decimal]:
    prices: dict[str, Decimal] = {}
    for start in range(0, len(symbols), SYMBOLS_PER_QUESTION):
        some = symbols[start : start + SYMBOLS_PER_QUESTION]
        answer = await client.get("/prices", symbols=",".join(some), currency=currency)
        prices |= read_prices(answer, asked=set(some), currency=currency)
    return prices


def read_prices(answer: Any, *, asked: set[str], currency: str) -> dict[str, Decimal]:
    """
    Check an answer.

    Raises:
        BadAnswer: It is not what was asked for; says where.
    """
    match answer:
        case {"currency": str(named), "prices": list(rows)} if named == currency:
            pass
        case _:
            raise BadAnswer(f"pricing API: no `prices` in {currency}")
    prices: dict[str, Decimal] = {}
    for number, row in enumerate(rows):
        match row:
            case {"symbol": str(symbol), "price": str() | int() | Decimal() as price}:
                prices[symbol] = _price(price, number)
            case _:
                raise BadAnswer(f"pricing API: prices[{number}] has no symbol and price")
    return {symbol: price for symbol, price in prices.items() if symbol in asked}


def _price(value: str | int | Decimal, number: int) -> Decimal:
    try:
        price = Decimal(value)
    except InvalidOperation:
        price = Decimal(-1)
    if not price.is_finite() or not 0 <= price < PRICE_MAX or price != round(price, PRICE_PLACES):
        raise BadAnswer(f"pricing API: prices[{number}].price is no price")
    return price
