"""A report: rows of figures, as a page of HTML with totals."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from html import escape
from typing import TYPE_CHECKING

from pgqueue import Fail, JobContext, job

if TYPE_CHECKING:
    from collections.abc import Sequence

TITLE_CHARACTERS_MAX = 200
ROWS_MAX = 10_000
_DIGITS_MAX = 30


@dataclass(frozen=True, slots=True)
class Rendered:
    """What was made; the job's result. The document itself: marketplace.my_report()."""

    rows: int
    refused: int
    total: Decimal
    characters: int


def amount_of(text: object) -> Decimal | None:
    """The number that a cell holds, exactly; None if it holds none."""
    if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or max(amount.adjusted(), -exponent) > _DIGITS_MAX:
        return None
    return amount


def page(title: str, rows: Sequence[tuple[str, Decimal]]) -> str:
    """The document. What customers sent is escaped: it may be shown in a browser."""
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{amount:f}</td></tr>\n" for name, amount in rows
    )
    total = sum((amount for _, amount in rows), Decimal())
    return (
        '<!doctype html>\n<html><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title></head>\n<body><h1>{escape(title)}</h1>\n<table>\n{lines}"
        f"<tr><th>Total</th><th>{total:f}</th></tr>\n</table></body></html>\n"
    )


@job("render_report", retries=2, timeout=60, transactional=True)
def render_report(ctx: JobContext, title: str, rows: list[dict[str, object]]) -> Rendered:
    """Make a report of rows {"name": ..., "amount": ...}, stored in the job's transaction."""
    if not 1 <= len(title) <= TITLE_CHARACTERS_MAX:
        raise Fail(f"title is not of 1 to {TITLE_CHARACTERS_MAX} characters", code="bad_title")
    if len(rows) > ROWS_MAX:
        raise Fail(f"{len(rows)} rows are more than {ROWS_MAX}", code="too_many_rows")
    good: list[tuple[str, Decimal]] = []
    for place, row in enumerate(rows, start=1):
        name, amount = row.get("name"), amount_of(row.get("amount"))
        if not isinstance(name, str) or amount is None:
            ctx.error("a row is a name and an amount", code="bad_row", item=place)
        else:
            good.append((name, amount))
    if not good:
        raise Fail("not one of the rows could be shown", code="no_rows")
    html = page(title, good)
    ctx.connection.execute("select marketplace.store_report(%s, %s, %s)", [ctx.id, title, html])
    ctx.created("Report", ctx.id)
    ctx.metrics.processed(len(rows))
    ctx.metrics.created()
    total = sum((amount for _, amount in good), Decimal())
    return Rendered(len(good), len(rows) - len(good), total, len(html))
