"""What `make marketplace` plays: orders at three priorities, one that fails, one that waits."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pgqueue import PgqueueError
from pgqueue.connection import connect
from pgqueue.demo import say, step

if TYPE_CHECKING:
    from pgqueue.demo import Stage

WANTED = {"partial": 1, "failed": 1, "succeeded": 3}
LEFT = 90 + 100 - 20 - 5 - 2 * 50


def run(stage: Stage) -> None:
    """Play it."""
    with step("Open the marketplace"):
        stage.show("open")
    with step("Order, before there is a worker"):
        stage.show("order")
    with stage.working() as worker:
        with step("Pay for the search that waits"):
            stage.show("pay")
        with step("Wait for all of it"):
            jobs = stage.wait(worker)
        with step("Look at what the customer sees"):
            stage.show("look")
            stage.show("verify")
    ended = Counter(job.status for job in jobs)
    with connect(stage.dsn) as connection:
        wrong = connection.execute("select * from metering.verify()").fetchall()
        (left,) = connection.execute(
            "select balance from metering.wallet_status where customer = 'acme'"
        ).fetchone() or (None,)
    if wrong or left != LEFT or ended != WANTED:
        raise PgqueueError(f"{dict(ended)}; {left} cents are left, not {LEFT}; verify: {wrong}")
    say(f"\n    Four jobs were paid for, one failed and was not; {left} cents are left.")
