"""Clean histories of limits, orders, batches, signals, quotas and money, added to others."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, cast

from tests.chaos.evidence import Batch, Claim, Entry, Evidence, Money

if TYPE_CHECKING:
    import random

    from tests.chaos.evidence import Job

STEP_SECONDS = 0.1
PRICE = 30
MILLISECOND = 1_000_000


class _Author:
    """Writes the lives of jobs, one event after another, behind what is there."""

    def __init__(self, evidence: Evidence, draw: random.Random) -> None:
        self.evidence = evidence
        self.draw = draw
        self.log = cast("list[Entry]", evidence.log)
        self.now = int(max((entry.clock for entry in self.log), default=1.0) * 1e9) + MILLISECOND
        self.tokens = count(10**6)
        self.token: dict[Job, int] = {}
        self.attempts: dict[Job, int] = {}

    def add(self, job: Job, entered: str, detail: str | None = None, **more: object) -> None:
        """One event, a little later than the last."""
        self.now += self.draw.randrange(1, 5) * MILLISECOND
        self.log.append(Entry(job, entered, detail, clock=self.now / 1e9, **more))  # type: ignore[arg-type]

    def enqueue(self, job: Job) -> None:
        self.add(job, "ready", attempt=0)
        self.evidence.asked[job] = "ok"
        self.now += MILLISECOND
        self.evidence.acked[job] = self.now

    def start(self, job: Job) -> None:
        token = self.token[job] = next(self.tokens)
        attempt = self.attempts[job] = self.attempts.get(job, 0) + 1
        asked = self.now = self.now + MILLISECOND
        started = (self.now + MILLISECOND) / 1e9
        self.add(job, "running", token=token, worker=1, attempt=attempt, until=started)
        self.now += MILLISECOND
        got = [(job, token, "flow", 1, token)]
        self.evidence.claims.append(Claim(asked, self.now, "w1", 1, False, got))

    def end(self, job: Job, status: str = "succeeded") -> None:
        token = self.token[job]
        self.add(
            job,
            "finished",
            status,
            token=token,
            worker=1,
            attempt=self.attempts[job],
            xid=token,
        )
        self.evidence.final[job] = (status, token)

    def back(self, job: Job, outcome: str) -> None:
        """The attempt ends, the job does not."""
        counts = outcome != "paused"
        attempt = self.attempts[job]
        self.attempts[job] = attempt - (not counts)
        self.add(job, "attempt", outcome, token=self.token[job], worker=1, attempt=attempt)
        if counts:
            self.add(job, "ready", attempt=attempt)

    def limited(self) -> None:
        """Six jobs, two at once, and each start a step after the one before."""
        flow = self.evidence.flow
        flow.limits["narrow"], flow.rates["slow"] = 2, (STEP_SECONDS, 1)
        jobs = [f"limited {n}" for n in range(6)]
        flow.gates.update(dict.fromkeys(jobs, ("narrow", "slow")))
        for job in jobs:
            self.enqueue(job)
        for n, job in enumerate(jobs):
            if n >= 2:
                self.end(jobs[n - 2])
            self.start(job)
            self.now += int(STEP_SECONDS * 1e9)
        for job in jobs[-2:]:
            self.end(job)

    def ordered(self) -> None:
        """One key; the second is retried, the third fails and blocks until it is skipped."""
        flow = self.evidence.flow
        jobs = [f"ordered {n}" for n in range(5)]
        flow.limits["order"] = 1
        flow.gates.update(dict.fromkeys(jobs, ("order",)))
        flow.ordered.update(dict.fromkeys(jobs, ("order", True)))
        for n, job in enumerate(jobs):
            self.add(job, "order", "order", token=n + 1)
            self.enqueue(job)
        for n, job in enumerate(jobs):
            self.start(job)
            if n == 1:
                self.back(job, "lost")
                self.start(job)
            self.end(job, "failed" if n == 2 else "succeeded")
            if n == 2:
                self.now += MILLISECOND
                flow.skipped[job] = self.now

    def batches(self) -> None:
        """One that succeeds, and one of which a job fails."""
        for bad in (0, 1):
            name = f"batch {bad}"
            jobs = [f"{name} {n}" for n in range(3)]
            callbacks = {"complete": 1, "failure" if bad else "success": 1}
            for job in jobs:
                self.enqueue(job)
                self.evidence.flow.joined[job] = name
            for n, job in enumerate(jobs):
                self.start(job)
                self.end(job, "failed" if n < bad else "succeeded")
            for event in callbacks:
                job = f"{name} {event}"
                self.enqueue(job)
                self.evidence.asked[job] = "follow"
                self.start(job)
                self.end(job)
            counts = (3, 3 - bad, bad, 0)
            batch = Batch(name, frozenset(jobs), counts, settled=True, callbacks=callbacks)
            self.evidence.flow.batches.append(batch)

    def asking(self) -> None:
        """It waits, is told, and goes on; its second attempt is lost."""
        job = "asking"
        self.evidence.flow.asking.add(job)
        self.enqueue(job)
        self.start(job)
        self.back(job, "paused")
        self.add(job, "blocked", "signal")
        self.evidence.flow.told.add(job)
        self.add(job, "ready", attempt=0)
        self.start(job)
        self.back(job, "lost")
        self.start(job)
        self.end(job)

    def quota(self) -> None:
        """Two may wait; the third comes when one has started."""
        flow = self.evidence.flow
        jobs = [f"small {n}" for n in range(3)]
        flow.quotas["small"] = 2
        flow.tenants.update(dict.fromkeys(jobs, "small"))
        for n, job in enumerate(jobs):
            if n == 2:
                self.start(jobs[0])
            self.enqueue(job)
        for job in jobs[1:]:
            self.start(job)
        for job in jobs:
            self.end(job)

    def money(self) -> None:
        """Two are paid for, one fails, one waits for money until it is cancelled."""
        flow = self.evidence.flow
        flow.deposits["d"] = ("ok", 3 * PRICE)
        flow.money.append(Money(1, None, "deposit", 3 * PRICE, "d"))
        jobs = [f"paid {n}" for n in range(3)]
        flow.prices.update(dict.fromkeys(jobs, PRICE))
        for job in jobs:
            self.enqueue(job)
            flow.money.append(Money(1, job, "reserve", PRICE))
        for n, job in enumerate(jobs):
            self.start(job)
            self.end(job, "failed" if n == 1 else "succeeded")
            xid = self.token[job]
            if n != 1:
                flow.money.append(Money(1, job, "charge", -PRICE, xid=xid))
            flow.money.append(Money(1, job, "unreserve", PRICE, xid=xid))
        flow.wallets[1] = (PRICE, 0)


def add(evidence: Evidence, draw: random.Random) -> None:
    """
    Add one of each to a history.

    Args:
        evidence: Its log is a list.
        draw: In which order, and at what distance.
    """
    author = _Author(evidence, draw)
    evidence.flow.limited_at = author.now
    parts = [
        author.limited,
        author.ordered,
        author.batches,
        author.asking,
        author.quota,
        author.money,
    ]
    draw.shuffle(parts)
    for part in parts:
        part()
