"""What `pgqueue demo --app workers.warehouse` plays: files in, a report out, an API's stock."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pgqueue.demo import expect, say, step
from pgqueue.errors import PgqueueError
from workers.pretend import Answer, pretending

if TYPE_CHECKING:
    from pgqueue.demo import Stage
    from workers.pretend import Request

_DATA = Path(__file__).resolve().parent / "data"


def run(stage: Stage) -> None:
    """Play it."""
    with tempfile.TemporaryDirectory(prefix="warehouse-") as reports, pretending(stock) as api:
        environment = {
            "WAREHOUSE_IMPORT_ROOT": str(_DATA),
            "WAREHOUSE_REPORT_ROOT": reports,
            "WAREHOUSE_STOCK_URL": api.url,
        }
        with stage.working(environment) as worker:
            with step("Import products, then stock: files in the folder of the tenant acme"):
                stage.show("enqueue")
                first = stage.wait(worker)
                stage.show("enqueue_stock")
                second = stage.wait(worker, earlier=1)
            expect([*first, *second], bulk_import="partial")
            with step("The products again, a report, and the pages of an API that paces us"):
                api.next(Answer(429, {}, {"retry-after": "1"}))
                stage.show("enqueue_again")
                third = stage.wait(worker, earlier=2)
            expect(third, bulk_import="partial", export_report="succeeded", sync_stock="succeeded")
            with step("Look"):
                stage.show("look")
            result = third[0].result
            if result["created"] or result["updated"] or not result["skipped"]:
                raise PgqueueError(f"the second import should have changed nothing: {result}")
            say(f"    The second import skipped {result['skipped']} rows and changed none.")
            (report,) = Path(reports).rglob("stock-*.csv")
            say(f"    The report has {len(report.read_text('utf-8').splitlines())} lines.")


def stock(request: Request) -> Answer:
    """Answer as the stock API does: two pages."""
    page = int(request.query["page"])
    pages = {
        1: [
            {"sku": "TAPE", "location": "D-01", "quantity": 75},
            {"sku": "DRILL-13", "location": "D-02", "quantity": 4},
        ],
        2: [{"sku": "GLUE-5", "location": "C-12", "quantity": 9}],
    }
    return Answer(200, {"items": pages[page], "next_page": page + 1 if page < len(pages) else None})
