"""The service, pretended: it pages, looks up and lists what data/coins.json holds."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.pretend import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workers.pretend import Request

DATA = Path(__file__).resolve().parent / "data" / "coins.json"


def sample() -> list[dict[str, Any]]:
    """Coins with invented prices."""
    coins: list[dict[str, Any]] = json.loads(DATA.read_text("utf-8"))
    return coins


def answering(coins: Sequence[Mapping[str, Any]]) -> Callable[[Request], Answer]:
    """
    Answer as the service does.

    Args:
        coins: The largest first; changes to them show in the next answer.
    """

    def answer(request: Request) -> Answer:
        match request.path:
            case "/coins/markets":
                size, page = int(request.query["per_page"]), int(request.query["page"])
                shown = coins[(page - 1) * size : page * size]
                return Answer(body=[_without(coin, "platforms") for coin in shown])
            case "/simple/price":
                wanted = request.query["ids"].split(",")
                currency = request.query["vs_currencies"]
                known = {coin["id"]: coin for coin in coins}
                return Answer(
                    body={one: _quote(known[one], currency) for one in wanted if one in known}
                )
            case "/coins/list":
                return Answer(body=list(coins))
            case _:
                return Answer(404, {"error": "no such path"})

    return answer


def _without(coin: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in coin.items() if key != name}


def _quote(coin: Mapping[str, Any], currency: str) -> dict[str, Any]:
    updated = dt.datetime.fromisoformat(coin["last_updated"])
    return {currency: coin["current_price"], "last_updated_at": int(updated.timestamp())}
