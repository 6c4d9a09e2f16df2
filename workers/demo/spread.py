"""What the prices look like: work for a CPU, done in a process of its own."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from dataclasses import dataclass

from pgqueue import JobContext, job

from .price_file import data_file, read_prices

SEED = 20250101


@dataclass(frozen=True, slots=True)
class Spread:
    """The median price, and where it lies with 90 % confidence."""

    prices: int
    median: float
    low: float
    high: float


@job("price_statistics", retries=1, timeout=120, isolation="process")
def price_statistics(ctx: JobContext, file: str, rounds: int = 300) -> dict[str, Spread]:
    """Estimate the median price per currency by resampling (a bootstrap of *rounds* rounds)."""
    prices, _ = read_prices(data_file(file))
    by_currency: defaultdict[str, list[float]] = defaultdict(list)
    for price in prices:
        by_currency[price.currency].append(float(price.price))
    spreads = {}
    for done, (currency, amounts) in enumerate(sorted(by_currency.items()), start=1):
        ctx.check_cancelled()
        spreads[currency] = _spread(amounts, max(rounds, 20))
        ctx.metrics.processed(len(amounts))
        ctx.progress(100 * done / len(by_currency), currency)
    return spreads


def _spread(amounts: list[float], rounds: int) -> Spread:
    # Seeded: the same file gives the same result in every attempt.
    dice = random.Random(SEED)  # noqa: S311 - statistics, not secrets
    medians = sorted(
        statistics.median(dice.choices(amounts, k=len(amounts))) for _ in range(rounds)
    )
    return Spread(
        prices=len(amounts),
        median=round(statistics.median(amounts), 2),
        low=round(medians[rounds // 20], 2),
        high=round(medians[-1 - rounds // 20], 2),
    )
