"""The producer: demands with random bounds, every five minutes; see PRODUCE_DEMANDS_SCHEDULE."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pgqueue import JobContext, Schedule, job

from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY_FIVE_MINUTES = Schedule(cron="*/5 * * * *", overlap="skip")


def demands(count: int, add_up_to_max: int) -> Iterator[dict[str, object]]:
    """Payloads of *count* demands."""
    dice = random.SystemRandom()
    for _ in range(count):
        yield {"add_up_to": dice.randint(0, add_up_to_max), "done": False}


@job("produce_demands", retries=3, timeout=60, schedule=EVERY_FIVE_MINUTES)
def produce_demands(ctx: JobContext, count: int | None = None) -> dict[str, int]:
    """Demand work; the demands exist if and only if this job succeeds."""
    settings = Settings.read()
    for payload in demands(count or settings.count, settings.add_up_to_max):
        ctx.enqueue("work_demand", payload)
        ctx.metrics.created()
    return {"demands": ctx.metrics.items_created}
