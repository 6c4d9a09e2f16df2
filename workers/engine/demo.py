"""What `pgqueue demo --app workers.engine` plays: orders and valuations, as .NET enqueues them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pgqueue.demo import expect, say, step
from pgqueue.errors import PgqueueError
from workers.pretend import Answer, pretending

if TYPE_CHECKING:
    from pgqueue.demo import Stage
    from workers.pretend import Request

_PRICES = Path(__file__).resolve().parent / "data" / "prices.json"


def run(stage: Stage) -> None:
    """Play it."""
    with pretending(prices) as api:
        say(f"    a pricing API that pretends: {api.url}")
        # The first question is answered with "later": the attempt leaves nothing behind.
        api.next(Answer(429, {}, {"retry-after": "1"}))
        with stage.working({"ENGINE_PRICING_URL": api.url}) as worker:
            with step("Enqueue as the application does, in its own transaction"):
                stage.show("enqueue")
            with step("Wait for both"):
                jobs = stage.wait(worker)
            expect(jobs, create_orders="partial", calculate_asset_values="succeeded")
            with step("Look at what they wrote"):
                stage.show("look")
            with step("Ask for an order once more"):
                stage.show("enqueue_again")
                again = stage.wait(worker, earlier=len(jobs))
                expect(again, create_orders="succeeded")
                result = again[-1].result
                if result["created"] or result["skipped"] != 1:
                    raise PgqueueError(f"the order should have been there, not {result}")
                say("    It created 0 and skipped 1: the order is there once.")


def prices(request: Request) -> Answer:
    """Answer as the pricing API does, from data/prices.json."""
    currency = request.query.get("currency", "")
    known = json.loads(_PRICES.read_text("utf-8"))["prices"].get(currency, {})
    asked = request.query.get("symbols", "").split(",")
    rows = [{"symbol": symbol, "price": known[symbol]} for symbol in asked if symbol in known]
    return Answer(200, {"currency": currency, "prices": rows})
