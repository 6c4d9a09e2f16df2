"""Each kind of corruption that the checker must notice, applied to a clean history at random."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from tests.chaos.evidence import Claim, Effect, Entry, Evidence, Lease, Report, Wake

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


def _log(evidence: Evidence) -> list[Entry]:
    return cast("list[Entry]", evidence.log)


def _some(evidence: Evidence, draw: random.Random, entered: str, detail: str | None = None) -> int:
    """The place of a random entry of this kind."""
    return draw.choice(
        [
            n
            for n, e in enumerate(_log(evidence))
            if e.entered == entered and detail in {None, e.detail}
        ]
    )


def drop_done(evidence: Evidence, draw: random.Random) -> None:
    """A job that was acknowledged never ends."""
    entry = _log(evidence).pop(_some(evidence, draw, "finished"))
    del evidence.final[entry.job]
    evidence.reports[:] = [r for r in evidence.reports if r.token != entry.token]
    evidence.ledger[:] = [e for e in evidence.ledger if e.token != entry.token]


def duplicate_done(evidence: Evidence, draw: random.Random) -> None:
    """A job ends twice."""
    n = _some(evidence, draw, "finished")
    _log(evidence).insert(draw.randrange(n + 1, len(_log(evidence)) + 1), _log(evidence)[n])


def stale_accept(evidence: Evidence, draw: random.Random) -> None:
    """A zombie completes the attempt that came after its own."""
    n = _some(evidence, draw, "attempt")
    old = _log(evidence)[n]
    for m in range(n + 1, len(_log(evidence))):
        entry = _log(evidence)[m]
        if entry.job == old.job and entry.entered in {"finished", "attempt"}:
            _log(evidence)[m] = entry._replace(token=old.token)
            return


def duplicate_effect(evidence: Evidence, draw: random.Random) -> None:
    """A handler's write is there twice."""
    effect = draw.choice(evidence.ledger)
    evidence.ledger.append(effect._replace(xid=effect.xid + draw.randrange(2)))


def drop_effect(evidence: Evidence, draw: random.Random) -> None:
    """A completed job has written nothing."""
    evidence.ledger.pop(draw.randrange(len(evidence.ledger)))


def foreign_effect(evidence: Evidence, draw: random.Random) -> None:
    """What an attempt that failed has written is there."""
    entry = _log(evidence)[_some(evidence, draw, "attempt")]
    assert entry.token is not None
    evidence.ledger.append(Effect(entry.job, entry.token, entry.token))


def early_reclaim(evidence: Evidence, draw: random.Random) -> None:
    """A job is taken from a worker whose lease lasts."""
    n = _some(evidence, draw, "attempt", "lost")
    entry = _log(evidence)[n]
    _log(evidence)[n] = entry._replace(until=entry.clock + draw.uniform(0.001, 1.0))


def ghost(evidence: Evidence, draw: random.Random) -> None:
    """A job is there whose enqueue was rolled back."""
    job = draw.choice([job for job, asked in evidence.asked.items() if asked == "ok"])
    evidence.asked[job] = "fail"


def phantom(evidence: Evidence, draw: random.Random) -> None:
    """A job is there that nobody asked for."""
    del evidence.asked[draw.choice([e.job for e in _log(evidence) if e.entered == "running"])]


def same_token(evidence: Evidence, draw: random.Random) -> None:
    """One token, two attempts."""
    running = [n for n, e in enumerate(_log(evidence)) if e.entered == "running"]
    one, two = sorted(draw.sample(running, 2))
    _log(evidence)[two] = _log(evidence)[two]._replace(token=_log(evidence)[one].token)


def two_owners(evidence: Evidence, draw: random.Random) -> None:
    """Two workers were given one job under one token."""
    claim = draw.choice(evidence.claims)
    evidence.claims.append(claim._replace(process="thief"))


def order_inversion(evidence: Evidence, draw: random.Random) -> None:
    """A job is overtaken by a later one of its queue."""
    _overtake(evidence, draw)


def inversion_in_company(evidence: Evidence, draw: random.Random) -> None:
    """A job is overtaken before there are limits, while another claim is under way."""
    asked = _overtake(evidence, draw, until=evidence.flow.limited_at)
    evidence.claims.append(Claim(asked - 1, asked + 2, "idle", 1, False, []))


def _overtake(evidence: Evidence, draw: random.Random, until: float = math.inf) -> int:
    """Make a claim that overtakes, of a job acknowledged before *until*; when it was asked for."""
    claims = evidence.claims
    straight = {}
    seen = set()
    for n, claim in enumerate(claims):
        for got in claim.got:
            free = got[0] in evidence.acked and got[0] not in evidence.flow.gates
            if got[0] not in seen and free and evidence.acked[got[0]] + 2 < until:
                straight[n] = got
            seen.add(got[0])
    n = draw.choice(list(straight))
    job, token, queue, priority, pos = straight[n]
    claim = claims[n]
    # Another claim, answered before this one was asked for, took something later.
    late = (f"late {job}", token + 10**9, queue, priority, pos + 1)
    asked = evidence.acked[job] + 1
    claims.append(claim._replace(asked=asked, answered=asked + 1, sweep=True, got=[late]))
    moved = claim._replace(asked=max(claim.asked, asked + 2), answered=claim.answered + 2)
    claims[n] = moved
    return asked


def key_overlap(evidence: Evidence, draw: random.Random) -> None:
    """Two unfinished jobs hold one unique key."""
    log = _log(evidence)
    holds = [n for n, e in enumerate(log) if e.entered == "key"]
    n = draw.choice(holds)
    other = next(e.job for e in log if e.entered == "ready" and e.job != log[n].job)
    log.insert(n + 1, log[n]._replace(job=other))


def late_wake_up(evidence: Evidence, draw: random.Random) -> None:
    """A sleeper is not woken."""
    n = draw.randrange(len(evidence.wakes))
    wake = evidence.wakes[n]
    evidence.wakes[n] = Wake(wake.job, wake.committed - int(1000e9))


def lost_completion(evidence: Evidence, draw: random.Random) -> None:
    """A completion was acknowledged and did not happen."""
    entry = _log(evidence)[_some(evidence, draw, "attempt")]
    assert entry.token is not None
    evidence.reports.append(Report(entry.job, entry.token, "complete", "ok"))


def short_lease(evidence: Evidence, draw: random.Random) -> None:
    """A lease is born short."""
    evidence.leases.append(Lease(9.0, 1.0, 10.0 - draw.uniform(0.001, 1.0)))


def over_limit(evidence: Evidence, draw: random.Random) -> None:
    """A claim gives more than it was asked for."""
    n = draw.randrange(len(evidence.claims))
    evidence.claims[n] = evidence.claims[n]._replace(limit=len(evidence.claims[n].got) - 1)


def early_retry(evidence: Evidence, draw: random.Random) -> None:
    """A job runs before its backoff is over."""
    n = _some(evidence, draw, "scheduled")
    _log(evidence)[n] = _log(evidence)[n]._replace(until=_log(evidence)[n].clock + 100)


def free_attempt(evidence: Evidence, draw: random.Random) -> None:
    """A lost attempt does not count."""
    n = _some(evidence, draw, "attempt", "lost")
    job = _log(evidence)[n].job
    for m in range(n + 1, len(_log(evidence))):
        entry = _log(evidence)[m]
        if entry.job == job and entry.entered == "ready":
            _log(evidence)[m] = entry._replace(attempt=(entry.attempt or 1) - 1)
            return


# What each must be reported as, at least.
KINDS: dict[str, tuple[Callable[[Evidence, random.Random], None], set[str]]] = {
    "drop done": (drop_done, {"lost"}),
    "duplicate done": (duplicate_done, {"done_twice"}),
    "stale accept": (stale_accept, {"stale"}),
    "duplicate effect": (duplicate_effect, {"effect"}),
    "drop effect": (drop_effect, {"no_effect"}),
    "foreign effect": (foreign_effect, {"effect"}),
    "early reclaim": (early_reclaim, {"early_reclaim"}),
    "ghost": (ghost, {"ghost"}),
    "phantom": (phantom, {"phantom"}),
    "same token twice": (same_token, {"token"}),
    "two owners": (two_owners, {"two_owners"}),
    "order inversion": (order_inversion, {"inversion"}),
    "inversion in company": (inversion_in_company, {"inversion"}),
    "unique-key overlap": (key_overlap, {"key_overlap"}),
    "late wake-up": (late_wake_up, {"late_wake_up"}),
    "lost completion": (lost_completion, {"unkept_word"}),
    "short lease": (short_lease, {"short_lease"}),
    "over limit": (over_limit, {"over_limit"}),
    "early retry": (early_retry, {"early"}),
    "free attempt": (free_attempt, {"attempts"}),
}
