"""What `make market` plays: each collection twice, from a service that at first says `later`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgqueue import PgqueueError
from pgqueue.demo import expect, say, step
from workers.pretend import Answer, pretending

from .pretended import answering, sample

if TYPE_CHECKING:
    from pgqueue.demo import Stage

COLLECTIONS = ("top_coins_collection", "price_collection", "contract_addresses_collection")


def run(stage: Stage) -> None:
    """Play it."""
    with pretending(answering(sample())) as service:
        environment = {"MARKET_API_URL": service.url, "MARKET_PAGE_SIZE": "5"}
        service.next(Answer(429, headers={"retry-after": "2"}))
        with stage.working(environment) as worker:
            with step("The schedules, as the worker registered them"):
                stage.show("schedules")
            with step("Collect the ranking now; the service says: in two seconds"):
                stage.show("collect_ranking")
                expect(stage.wait(worker), top_coins_collection="succeeded")
            with step("Collect what needs the ranking"):
                stage.show("collect_more")
                first = stage.wait(worker)
                expect(first, **dict.fromkeys(COLLECTIONS, "succeeded"))
            with step("Look at what was stored"):
                stage.show("look")
            with step("All of it again"):
                stage.show("collect_ranking")
                stage.show("collect_more")
                second = stage.wait(worker, earlier=len(first))
                expect(second, **dict.fromkeys(COLLECTIONS, "succeeded"))
                stage.show("look_again")
    changed = [job for job in second if job.result["created"] or job.result["updated"]]
    # A tick of the schedule's own may have come meanwhile, too early or with nothing left to do.
    created = {job.job_type for job in first if job.result and job.result["created"]}
    if changed or created != set(COLLECTIONS):
        raise PgqueueError(f"created by {sorted(created)}; changed the second time: {changed}")
    say(f"\n    The second time nothing has changed; {len(service.requests)} requests were sent.")
