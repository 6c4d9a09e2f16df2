"""What the service answers, made into rows: what is right, and what is wrong, item by item."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pgqueue.jsonio import clean_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from workers.market.settings import Settings

_TEXT_CHARACTERS_MAX = 200
_RANK_MAX = 2**31 - 1
# More digits than any price or market has; a numeric that long would fill a page of the table.
_EXPONENT_MAX = 30
_PRECISION_MAX = 40


class ItemRefused(ValueError):
    """An item that cannot be stored; the message says why."""


@dataclass(slots=True)
class Rows:
    """
    What is to be stored, and what is not.

    Attributes:
        skipped: Items that are right and not for us: no rank, no price, another chain, seen before.
        problems: Items that are wrong: where they stand, and why.
    """

    rows: list[dict[str, object]] = field(default_factory=list)
    skipped: int = 0
    problems: list[tuple[object, str]] = field(default_factory=list)

    @property
    def processed(self) -> int:
        """How many items there were."""
        return len(self.rows) + self.skipped + len(self.problems)


def rankings(items: Iterable[Any], *, day: dt.date, settings: Settings) -> Rows:
    """
    Rows of market.asset_rankings.

    Args:
        items: Of /coins/markets, all pages: while pages are read a coin can move to the next one,
            and stands in both. The first place counts.
        day: The snapshot's.
        settings: Source and so on.
    """
    found, seen = Rows(), set[str]()
    for place, item in enumerate(items, start=1):
        try:
            coin = _members(item)
            asset_id = _text(coin, "id")
            rank = _rank(coin)
            if rank is None or asset_id in seen:
                found.skipped += 1
                continue
            found.rows.append(
                {
                    "asset_id": asset_id,
                    "snapshot_date": day,
                    "source": settings.source,
                    "symbol": _text(coin, "symbol"),
                    "name": _text(coin, "name"),
                    "rank": rank,
                    "price": _number(coin, "current_price"),
                    "market_cap": _number(coin, "market_cap"),
                }
            )
            seen.add(asset_id)
        except ItemRefused as exc:
            found.problems.append((place, str(exc)))
    return found


def prices(
    answer: Mapping[str, Any], asset_ids: Iterable[str], *, now: dt.datetime, settings: Settings
) -> Rows:
    """
    Rows of market.asset_prices.

    Args:
        answer: Of /simple/price.
        asset_ids: What was asked for; the service leaves out what it does not know.
        now: For a price whose time it does not say.
        settings: Source, currency.
    """
    found = Rows()
    for asset_id in asset_ids:
        try:
            quote = _members(answer.get(asset_id, {}))
            price = _number(quote, settings.currency)
            if price is None:
                found.skipped += 1
                continue
            found.rows.append(
                {
                    "asset_id": asset_id,
                    "timestamp": to_the_minute(_time(quote.get("last_updated_at")) or now),
                    "source": settings.source,
                    "price": price,
                    "currency": settings.currency,
                }
            )
        except ItemRefused as exc:
            found.problems.append((asset_id, str(exc)))
    return found


def contracts(items: Iterable[Any], ranked: Collection[str], settings: Settings) -> Rows:
    """
    Rows of market.asset_contracts.

    Args:
        items: Of /coins/list with platforms.
        ranked: Contracts of other assets are not kept.
        settings: Which chains.
    """
    found, seen = Rows(), set[tuple[str, str]]()
    for place, item in enumerate(items, start=1):
        try:
            coin = _members(item)
            asset_id = _text(coin, "id")
            platforms = _members(coin.get("platforms") or {})
        except ItemRefused as exc:
            found.problems.append((place, str(exc)))
            continue
        if asset_id not in ranked:
            found.skipped += 1
            continue
        for chain in platforms:
            try:
                address = _address(platforms, chain)
            except ItemRefused as exc:
                found.problems.append((asset_id, str(exc)))
                continue
            key = (chain, address)
            other_chain = settings.chains and chain not in settings.chains
            if not chain or not address or other_chain or key in seen:
                found.skipped += 1
                continue
            seen.add(key)
            found.rows.append({"chain": chain, "contract_address": address, "asset_id": asset_id})
    return found


def to_the_minute(moment: dt.datetime) -> dt.datetime:
    """Rounded down: the price was there by then."""
    return moment.astimezone(dt.UTC).replace(second=0, microsecond=0)


def _members(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ItemRefused("this is no object")
    return value


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise ItemRefused(f"{name} is missing")
    if clean_text(value, _TEXT_CHARACTERS_MAX) != value:
        raise ItemRefused(f"{name} is too long, or holds what no text can")
    return value


def _address(platforms: Mapping[str, Any], chain: str) -> str:
    address = platforms[chain]
    # The native coin of a chain has a platform without a name or an address.
    if not chain or address is None or address == "":
        return ""
    _text({"chain": chain}, "chain")
    text = _text(platforms, chain)
    # Upper case in a hexadecimal address is a check sum; elsewhere it is part of the address.
    return text.lower() if text.startswith("0x") else text


def _rank(coin: Mapping[str, Any]) -> int | None:
    rank = coin.get("market_cap_rank")
    if rank is None:
        return None
    if type(rank) is not int or not 0 < rank <= _RANK_MAX:
        raise ItemRefused("market_cap_rank is no rank")
    return rank


def _number(item: Mapping[str, Any], name: str) -> Decimal | None:
    value = item.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ItemRefused(f"{name} is no number")
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or number.adjusted() > _EXPONENT_MAX:
        raise ItemRefused(f"{name} is too large")
    if exponent < -_PRECISION_MAX:
        raise ItemRefused(f"{name} has too many decimals")
    if number < 0:
        raise ItemRefused(f"{name} is below zero")
    return number


def _time(value: object) -> dt.datetime | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ItemRefused("last_updated_at is no time")
    try:
        return dt.datetime.fromtimestamp(float(value), dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise ItemRefused("last_updated_at is no time") from None
