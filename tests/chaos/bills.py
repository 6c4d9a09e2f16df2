"""Batches and wallets: what was counted and charged, beside what became of the jobs."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tests.chaos.fold import COMPLETED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.evidence import Batch, Evidence, Job

    Found = tuple[str, str, Job | None]


def batches(evidence: Evidence, counts: Counter[str]) -> Iterator[Found]:
    """The numbers are those of the jobs, and each callback came once, with the right outcome."""
    final = evidence.final
    flow = evidence.flow
    if not flow.batches:
        return
    again = {entry.job for entry in evidence.log if entry.detail == "redriven"}
    of: dict[Job, str] = {}
    for batch in flow.batches:
        counts["batches"] += batch.settled
        of.update(dict.fromkeys(batch.jobs, batch.batch))
        ended = Counter(final[job][0] for job in batch.jobs if job in final)
        fates = (
            len(batch.jobs),
            ended["succeeded"] + ended["partial"],
            ended["failed"],
            ended["cancelled"],
        )
        if fates != batch.counts:
            yield "batch", f"{batch.batch} counts {batch.counts}, its jobs are {fates}", None
        yield from _callbacks(
            batch, bad=fates[2] + fates[3], open_end=not batch.jobs.isdisjoint(again)
        )
    for job, name in flow.joined.items():
        if of.get(job) != name:
            yield "batch", f"acknowledged in {name}, found in {of.get(job)}", job


def _callbacks(batch: Batch, *, bad: int, open_end: bool) -> Iterator[Found]:
    """What is due depends on what an operator has brought back: then any may have come before."""
    due = {
        "complete": batch.settled,
        "failure": batch.settled and bad > 0,
        "success": batch.settled and bad == 0,
    }
    for event, wanted in due.items():
        came = batch.callbacks.get(event, 0)
        early = came > wanted and not open_end and not (event == "failure" and bad)
        late = wanted and not came and not (open_end and event != "complete")
        if came > 1 or early or late:
            yield "callback", f"{batch.batch}: on_{event} came {came} times, {bad} failed", None


def charges(evidence: Evidence, counts: Counter[str]) -> Iterator[Found]:
    """One charge for each success, of the right amount, in its transaction; none for the others."""
    flow = evidence.flow
    if not flow.money:
        return
    owed: Counter[tuple[Job | None, int]] = Counter()
    runs: set[Job] = set()
    for entry in evidence.log:
        if entry.job not in flow.prices:
            continue
        if entry.entered == "running":
            runs.add(entry.job)
        elif entry.entered == "finished" and entry.detail in COMPLETED and entry.job in runs:
            owed[entry.job, entry.xid] += 1
    for row in flow.money:
        if row.what != "charge":
            continue
        counts["charges"] += 1
        assert row.job is not None
        if not owed[row.job, row.xid]:
            yield "charge", f"charged by {row.xid}, which did not complete it once more", row.job
        elif -row.amount != flow.prices.get(row.job):
            yield (
                "charge",
                f"{-row.amount} charged, {flow.prices.get(row.job)} is the price",
                row.job,
            )
        owed[row.job, row.xid] -= 1
    for (job, xid), left in owed.items():
        if left > 0:
            yield "charge", f"completed by {xid}, not charged", job


def sums(evidence: Evidence) -> Iterator[Found]:
    """Balance is the sum of the entries, pending that of the unfinished jobs; never overdrawn."""
    flow = evidence.flow
    balance: Counter[int] = Counter()
    pending: dict[Job | None, tuple[int, int]] = {}
    available: Counter[int] = Counter()
    charged = {(row.job, row.xid) for row in flow.money if row.what == "charge"}
    entered: Counter[tuple[str | None, int]] = Counter()
    for row in flow.money:
        if row.what == "reserve":
            if row.job in pending:
                yield "money", "reserved twice", row.job
            pending[row.job] = (row.wallet, row.amount)
            available[row.wallet] -= row.amount
            if available[row.wallet] < 0:
                yield "overdrawn", f"wallet {row.wallet}: {available[row.wallet]}", row.job
        elif row.what == "unreserve":
            pending.pop(row.job, None)
            # A charge takes from the balance what it takes from pending.
            available[row.wallet] += 0 if (row.job, row.xid) in charged else row.amount
        else:
            balance[row.wallet] += row.amount
            available[row.wallet] += row.amount if row.what != "charge" else 0
            entered[row.reference, row.amount] += row.what == "deposit"
    yield from _ledgers(evidence, balance, pending)
    for reference, (ended, amount) in flow.deposits.items():
        n = entered[reference, amount]
        if n > 1 or (ended == "ok" and not n) or (ended == "fail" and n):
            yield "money", f"deposit {reference}: {ended}, entered {n} times", None


def _ledgers(
    evidence: Evidence, balance: Counter[int], pending: dict[Job | None, tuple[int, int]]
) -> Iterator[Found]:
    flow = evidence.flow
    reserved: defaultdict[int, int] = defaultdict(int)
    for wallet, amount in pending.values():
        reserved[wallet] += amount
    for wallet, told in flow.wallets.items():
        found = (balance[wallet], reserved[wallet])
        if told != found:
            yield "money", f"wallet {wallet}: says {told}, entries and jobs {found}", None
    for job, price in flow.prices.items():
        wants = 0 if job in evidence.final or job in flow.held else price
        has = pending.get(job, (0, 0))[1]
        if has != wants:
            yield "money", f"{has} reserved for it, {wants} wanted", job
