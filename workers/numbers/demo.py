"""What `make numbers` plays: demands by three ways, works, and a look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgqueue import PgqueueError
from pgqueue.demo import say, step

if TYPE_CHECKING:
    from pgqueue.demo import Stage

# What the demands in sql/shown/demand.sql add up to.
SHOWN = {10: 55, 100: 5_050, 1_000_000_000: 500_000_000_500_000_000}


def run(stage: Stage) -> None:
    """Play it."""
    with stage.working({"NUMBERS_COUNT": "4", "NUMBERS_ADD_UP_TO_MAX": "1000"}) as worker:
        with step("Demand work in three ways"):
            stage.show("demand")
        with step("Wait for all of it"):
            jobs = stage.wait(worker)
        with step("Look at the works"):
            stage.show("look")
    demands = [job for job in jobs if job.job_type == "work_demand"]
    works = {job.result["add_up_to"]: job.result["total"] for job in demands if job.result}
    refused = [job for job in demands if job.status == "failed"]
    if len(refused) != 1 or not SHOWN.items() <= works.items():
        raise PgqueueError(f"{len(refused)} demands were refused, and the works are {works}")
    say(f"\n    {len(demands) - 1} works, each computed once; one demand made no sense.")
