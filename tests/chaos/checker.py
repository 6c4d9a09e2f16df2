"""
Was a promise broken, and by which events?

    no loss      every acknowledged job ends                              lost
    no ghost     no job that nobody asked for, none that was rolled back  phantom, ghost
    fence        tokens of a job grow; one owner each; n asked, at most n claimed
                                                     token, two_owners, unseen_claim, over_limit
    no stale     only the last token ends an attempt                      stale, unkept_word
    once         one end, and nothing after it                            done_twice, after_done
    effects      one row in the ledger per completion, in its transaction effect, no_effect
    lease        nobody loses a job while his lease lasts                 early_reclaim, short_lease
    order        nobody overtakes a job that could have been claimed      inversion
    keys         one unfinished job per unique key                        key_overlap, key_kept
    limits       never more at once, never faster, in the order of a key  limit, rate, disorder
    batches      numbers are those of the jobs; each callback once        batch, callback
    signals      who was told goes on, once                               resumed, unheard
    quotas       never more waiting                                       quota
    wallets      sums agree; charged once for a success; never overdrawn  money, charge, overdrawn
    verify()     finds nothing                                            verify
    moves        along the arrows, in time, within the budget             move, early, attempts
    wake-up      a sleeper is woken                                       late_wake_up

The legal life of one job is a small regular language, so one pass over the log with the state of
each job decides; nothing is searched. An outcome that nobody knows (info) counts as neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos import bills, order, waits
from tests.chaos.fold import Fold
from tests.chaos.verdict import Verdict, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.evidence import Evidence, Job

    Found = tuple[str, str, Job | None]

NEVER_SECONDS = 1e6


def check(evidence: Evidence) -> Verdict:
    """Look at everything; the counts are those of the table that a run ends with."""
    fold = Fold(evidence)
    fold.read()
    counts = fold.verdict.counts
    for found in (
        fold.ends(),
        fold.claims(),
        fold.reports(),
        fold.effects(),
        fold.keys(),
        _leases(evidence),
        order.inversions(evidence, fold.straight, counts),
        _wakes(evidence),
        waits.limits(evidence, counts),
        waits.disorder(evidence),
        waits.signals(evidence, counts),
        waits.quotas(evidence),
        bills.batches(evidence, counts),
        bills.charges(evidence, counts),
        bills.sums(evidence),
        (("verify", problem, None) for problem in evidence.problems),
    ):
        fold.verdict.violations.extend(Violation(*one) for one in found)
    counts["leases checked"] = len(evidence.leases)
    counts["wake-ups checked"] = len(evidence.wakes)
    slowest = max((late for _, late in _lateness(evidence)), default=0.0)
    counts["slowest wake-up, ms"] = round(min(slowest, NEVER_SECONDS) * 1000)
    return fold.verdict


def _leases(evidence: Evidence) -> Iterator[Found]:
    """A lease lasts from when it was asked for, not from when the transaction began."""
    for lease in evidence.leases:
        if evidence.steady and lease.until < lease.asked_at + lease.seconds:
            short = lease.asked_at + lease.seconds - lease.until
            yield "short_lease", f"{lease.seconds} s, born {short:.3f} s short", None


def _wakes(evidence: Evidence) -> Iterator[Found]:
    """A job for a sleeping worker is claimed soon after its commit."""
    for job, late in _lateness(evidence):
        if late > evidence.wake_seconds:
            when = "never" if late >= NEVER_SECONDS else f"after {late:.1f} s"
            yield "late_wake_up", f"claimed {when}, within {evidence.wake_seconds} s wanted", job


def _lateness(evidence: Evidence) -> Iterator[tuple[Job, float]]:
    claimed: dict[Job, int] = {}
    wanted = {wake.job for wake in evidence.wakes}
    for claim in evidence.claims:
        for job, *_ in claim.got:
            if job in wanted:
                claimed.setdefault(job, claim.answered)
    for job, committed in evidence.wakes:
        at = claimed.get(job)
        yield job, NEVER_SECONDS if at is None else (at - committed) / 1e9
