"""create_orders: validate, price, store; one transaction with the job's completion."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from pgqueue import Backoff, Fail, JobContext, job, jsonio

from .order_form import NewOrder, Problem, check_orders
from .pricing import fetch_prices

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

__all__ = ["create_orders"]

ORDERS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersReport:
    """What became of the orders; stored as the job's result."""

    created: int
    skipped: int
    refused: int
    lines: int
    currencies: list[str]


# The API is asked within the transaction, which by then has written and locked nothing: it costs
# a connection, and no vacuum waits for it.
@job(
    "create_orders",
    retries=5,
    timeout=120,
    transactional=True,
    backoff=Backoff(base=2, factor=2, cap=300),
)
async def create_orders(ctx: JobContext, orders: list[NewOrder | Any]) -> OrdersReport:
    """
    Create the orders of the payload, each once; one that is wrong is reported, the rest is created.

    Args:
        ctx: The run.
        orders: Items that are no NewOrder are refused one by one, not with the whole payload.
    """
    if not 1 <= len(orders) <= ORDERS_MAX:
        raise Fail(f"a job has 1 to {ORDERS_MAX} orders, not {len(orders)}", code="bad_payload")
    good, problems = check_orders(orders)
    problems += await _drop_unknown(ctx, good)
    prices = await _prices(ctx, good.values())
    problems += _drop_unpriced(good, prices)
    created, skipped, taken = await _store(ctx, good, prices)
    problems += taken
    for problem in sorted(problems, key=lambda one: one.index):
        ctx.error(problem.message, code=problem.code, item=problem.item())
    ctx.metrics.processed(len(orders))
    ctx.metrics.created(len(created))
    ctx.metrics.skipped(skipped)
    if len(problems) == len(orders):
        raise Fail("not one of the orders could be created", code="all_orders_refused")
    return OrdersReport(
        created=len(created),
        skipped=skipped,
        refused=len(problems),
        lines=sum(len(good[index].lines) for index in created),
        currencies=sorted({order.currency for order in good.values()}),
    )


async def _drop_unknown(ctx: JobContext, good: dict[int, NewOrder]) -> list[Problem]:
    """Take the orders out that name what is no asset."""
    wanted = sorted({line.symbol for order in good.values() for line in order.lines})
    cursor = await ctx.connection.execute("select symbol from engine.known_symbols(%s)", [wanted])
    known = {symbol for (symbol,) in await cursor.fetchall()}
    message = "there is no asset with this symbol"
    return _drop(good, lambda _, symbol: symbol in known, "unknown_asset", message)


def _drop_unpriced(
    good: dict[int, NewOrder], prices: dict[str, dict[str, Decimal]]
) -> list[Problem]:
    message = "the pricing API has no price in this currency"
    return _drop(good, lambda currency, symbol: symbol in prices[currency], "no_price", message)


def _drop(good: dict[int, NewOrder], fits: Any, code: str, message: str) -> list[Problem]:
    problems = []
    for index, order in list(good.items()):
        for number, line in enumerate(order.lines):
            if not fits(order.currency, line.symbol):
                field = f"lines[{number}].symbol"
                problems.append(Problem(index, order.reference, field, code, message))
                del good[index]
                break
    return problems


async def _prices(ctx: JobContext, orders: Iterable[NewOrder]) -> dict[str, dict[str, Decimal]]:
    """Per currency, the price of each symbol."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for order in orders:
        wanted[order.currency].update(line.symbol for line in order.lines)
    began = time.monotonic()
    prices = await fetch_prices(wanted)
    ctx.metrics.add("pricing_ms", round((time.monotonic() - began) * 1000))
    ctx.progress(50, "priced")
    return prices


async def _store(
    ctx: JobContext, good: dict[int, NewOrder], prices: dict[str, dict[str, Decimal]]
) -> tuple[list[int], int, list[Problem]]:
    """Store them; which are created, how many were there before, which are somebody else's."""
    began = time.monotonic()
    rows = [_row(order, prices[order.currency]) for order in good.values()]
    cursor = await ctx.connection.execute(
        "select reference, order_id, is_new, same from engine.store_orders(%s, %s)",
        [ctx.id, Jsonb(rows, dumps=jsonio.dumps)],
    )
    places = {order.reference: index for index, order in good.items()}
    created, skipped, taken = list[int](), 0, list[Problem]()
    for reference, order_id, is_new, same in await cursor.fetchall():
        if is_new:
            created.append(places[reference])
            ctx.created("Order", order_id)
        elif same:
            skipped += 1
        else:
            message = "another customer's order, or one in another currency, has this reference"
            problem = Problem(places[reference], reference, "reference", "reference_taken", message)
            taken.append(problem)
    ctx.metrics.add("store_ms", round((time.monotonic() - began) * 1000))
    return created, skipped, taken


def _row(order: NewOrder, prices: dict[str, Decimal]) -> dict[str, Any]:
    lines = [{**asdict(line), "unit_price": prices[line.symbol]} for line in order.lines]
    return {
        "reference": order.reference,
        "customer_id": order.customer_id,
        "currency": order.currency,
        "lines": lines,
    }
