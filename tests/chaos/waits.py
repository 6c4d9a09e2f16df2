"""Limits, rates, ordering keys, signals and quotas, from the log of the database."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tests.chaos.fold import COMPLETED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.evidence import Evidence, Job

    Found = tuple[str, str, Job | None]

ENDS = frozenset({"finished", "attempt"})
ROUNDING_SECONDS = 1e-5


def limits(evidence: Evidence, counts: Counter[str]) -> Iterator[Found]:
    """
    Never more attempts at once than a gate admits, never faster starts.

    In the order of the log: who was started because of an end has seen it committed, so the end
    comes first. A rate may be used up by its burst and one start per step after that.
    """
    flow = evidence.flow
    if not flow.gates:
        return
    leases: Counter[str] = Counter()
    held: dict[int, tuple[str, ...]] = {}
    empty_at: dict[str, float] = {}
    for entry in evidence.log:
        if entry.entered == "running" and entry.job in flow.gates:
            assert entry.token is not None
            gates = held[entry.token] = flow.gates[entry.job]
            counts["gated"] += 1
            for gate in gates:
                leases[gate] += 1
                if leases[gate] > flow.limits.get(gate, leases[gate]):
                    text = f"{gate}: {leases[gate]} at once, {flow.limits[gate]} allowed"
                    yield "limit", text, entry.job
                if gate in flow.rates and entry.until is not None and evidence.steady:
                    step, burst = flow.rates[gate]
                    at = entry.until
                    empty_at[gate] = max(empty_at.get(gate, 0.0), at) + step
                    early = empty_at[gate] - at - burst * step
                    if early > ROUNDING_SECONDS:
                        yield "rate", f"{gate}: a start {early:.3f} s too early", entry.job
        elif entry.entered in ENDS and entry.token in held:
            leases.subtract(held.pop(entry.token))


def disorder(evidence: Evidence) -> Iterator[Found]:
    """
    Yield the jobs that started before one that was ahead of them in their ordering key.

    Ahead for certain: acknowledged before the claim was asked for. Out of the way: finished, unless
    it failed and blocks the key until somebody asks that it be skipped.
    """
    flow = evidence.flow
    if not flow.ordered:
        return
    queues: dict[str, dict[Job, int]] = defaultdict(dict)
    began: dict[Job, tuple[int, int]] = {}
    left: dict[Job, int] = {}
    for n, entry in enumerate(evidence.log):
        if entry.job not in flow.ordered:
            continue
        if entry.entered == "order":
            assert entry.token is not None
            queues[flow.ordered[entry.job][0]].setdefault(entry.job, entry.token)
        elif entry.entered == "running":
            began.setdefault(entry.job, (n, entry.token or 0))
        elif entry.entered == "finished" and not (
            entry.detail == "failed" and flow.ordered[entry.job][1]
        ):
            left.setdefault(entry.job, n)
    claimed = {
        (job, token): claim
        for claim in evidence.claims
        for job, token, *_ in claim.got
        if job in flow.ordered
    }
    never = len(evidence.log)  # type: ignore[arg-type]
    for key, places in queues.items():
        line = sorted(places, key=places.__getitem__)
        for n, job in enumerate(line):
            at, token = began.get(job, (0, 0))
            claim = claimed.get((job, token))
            if claim is None:
                continue
            for ahead in line[:n]:
                known = evidence.acked.get(ahead, claim.asked) < claim.asked
                skipped = flow.skipped.get(ahead, claim.answered) < claim.answered
                if known and not skipped and left.get(ahead, never) > at:
                    yield "disorder", f"key {key}: started before {ahead}", job


def signals(evidence: Evidence, counts: Counter[str]) -> Iterator[Found]:
    """A job that was told goes on, once; and none goes on that was not."""
    flow = evidence.flow
    for job in flow.unheard:
        yield "unheard", "it has its signal, and waits for it", job
    if not flow.asking:
        return
    resumed: Counter[Job] = Counter()
    waits: set[Job] = set()
    for entry in evidence.log:
        job = entry.job
        if job not in flow.asking:
            continue
        if entry.entered == "ready" and job in waits:
            resumed[job] += 1
            counts["resumed"] += 1
        waits.discard(job)
        if entry.entered == "blocked" and entry.detail == "signal":
            waits.add(job)
    for job in flow.asking - evidence.touched:
        status = evidence.final.get(job, ("", None))[0]
        if resumed[job] > 1 or (status in COMPLETED and not resumed[job]):
            yield "resumed", f"{resumed[job]} times", job
        elif status in COMPLETED and job not in flow.told:
            yield "resumed", "nobody had told it anything", job


def quotas(evidence: Evidence) -> Iterator[Found]:
    """
    Never more jobs of a tenant waiting than its quota, when one comes in.

    One producer inserts them, so what it cannot see is only what it does not know the end of.
    """
    flow = evidence.flow
    waiting: dict[str, set[Job]] = defaultdict(set)
    if not flow.quotas:
        return
    unsure = Counter(flow.tenants[job] for job in flow.tenants if evidence.asked.get(job) == "info")
    seen: set[Job] = set()
    for entry in evidence.log:
        tenant = flow.tenants.get(entry.job)
        if tenant is None:
            continue
        if entry.job not in seen:
            seen.add(entry.job)
            waiting[tenant].add(entry.job)
            if len(waiting[tenant]) > flow.quotas[tenant] + unsure[tenant]:
                text = f"{tenant}: {len(waiting[tenant])} waiting, {flow.quotas[tenant]} allowed"
                yield "quota", text, entry.job
        elif entry.entered in {"running", "finished"}:
            waiting[tenant].discard(entry.job)
