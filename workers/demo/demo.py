"""What `pgqueue demo` plays: a price list is imported twice, and a reminder is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgqueue import PgqueueError
from pgqueue.demo import expect, say, step

if TYPE_CHECKING:
    from pgqueue.demo import Stage


def run(stage: Stage) -> None:
    """Play it."""
    with stage.working() as worker:
        with step("Enqueue with a plain INSERT, as any language can"):
            stage.show("enqueue")
        with step("Wait for them, and for the job that the import enqueues"):
            jobs = stage.wait(worker)
        expect(
            jobs,
            import_prices="partial",
            send_reminder="succeeded",
            price_statistics="succeeded",
        )
        with step("Look at the views"):
            stage.show("look")
        with step("What the worker logged"):
            for line in worker.log_lines():
                if ": job " in line:
                    say(f"    {line}")
        with step("Import the same file again"):
            stage.show("enqueue_again")
            again = stage.wait(worker, earlier=len(jobs))
            expect(again, import_prices="partial")
            stage.show("look_again")
            _nothing_changed(again[-1].result)


def _nothing_changed(result: dict[str, int]) -> None:
    if result["created"] or result["updated"] or not result["skipped"]:
        raise PgqueueError(f"the second import should have changed nothing, and says {result}")
    say(f"    It created 0, updated 0 and skipped {result['skipped']}: nothing has changed.")
