"""
What the checker reads: two witnesses of one run, and what was left at its end.

Plain tuples, for a million jobs are checked in seconds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Job = Hashable


class Entry(NamedTuple):
    """One row of the log in the database (sql/witness.sql), in commit order for a job or a key."""

    job: Job
    entered: str
    detail: str | None = None
    token: int | None = None
    worker: int | None = None
    attempt: int | None = None
    until: float | None = None
    xid: int = 0
    clock: float = 0.0


class Claim(NamedTuple):
    """A claim that a worker knows of; asked and answered are monotonic nanoseconds."""

    asked: int
    answered: int
    process: str
    limit: int
    sweep: bool  # without floors: it saw everything
    got: list[tuple[Job, int, str, int, int]]  # job, token, queue, priority, position


class Report(NamedTuple):
    """What a worker said about an attempt, and how that went: ok, refused, fail or info."""

    job: Job
    token: int
    do: str
    ended: str


class Effect(NamedTuple):
    """A row of the ledger: what a handler wrote through its transaction."""

    job: Job
    token: int
    xid: int


class Beat(NamedTuple):
    """A heartbeat that was acknowledged: its lease lasts until then, by the server's clock."""

    worker: int
    until: float


class Lease(NamedTuple):
    """A lease asked for at a known time of the server: it must last as long as it says."""

    asked_at: float
    seconds: float
    until: float


class Wake(NamedTuple):
    """A job for a sleeping worker, and when its commit was acknowledged (monotonic nanoseconds)."""

    job: Job
    committed: int


@dataclass(slots=True)
class Evidence:
    """
    One run.

    Attributes:
        asked: How each enqueue ended: ok, fail, info (nobody knows, not even pg_xact_status), or
            follow: a handler asked for it, with its completion.
        acked: When the enqueue was acknowledged (monotonic nanoseconds).
        log: In order; iterated once, and again only to show the events of a violation.
        claims: Of the workers.
        unsure: Workers with a claim that was never answered; None = every worker may have one.
        windows: When such claims were under way: (asked, until).
        reports: Of the workers.
        ledger: The effects.
        final: How each finished job ended: status and token.
        transactional: Jobs whose handler writes one row into the ledger when it succeeds.
        touched: Jobs that an operator or a keyed producer may have moved.
        stopped: Workers that said goodbye.
        beats: Acknowledged heartbeats.
        leases: Leases asked for in long transactions.
        wakes: Jobs that must be claimed soon.
        wake_seconds: How soon.
        drained: Nothing was left to do at the end: unfinished now means lost.
        limits: At most so many attempts of a job type at once: (its jobs, how many).
        rates: At most so many claims within so many seconds: (its jobs, how many, seconds).
        steady: The server's clock did not jump.
    """

    asked: dict[Job, str] = field(default_factory=dict)
    acked: dict[Job, int] = field(default_factory=dict)
    log: Iterable[Entry] = ()
    claims: list[Claim] = field(default_factory=list)
    unsure: set[int] | None = field(default_factory=set)
    windows: list[tuple[int, int]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    ledger: list[Effect] = field(default_factory=list)
    final: dict[Job, tuple[str, int | None]] = field(default_factory=dict)
    transactional: set[Job] = field(default_factory=set)
    touched: set[Job] = field(default_factory=set)
    stopped: set[int] = field(default_factory=set)
    beats: list[Beat] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    wakes: list[Wake] = field(default_factory=list)
    wake_seconds: float = 3.0
    drained: bool = True
    limits: list[tuple[set[Job], int]] = field(default_factory=list)
    rates: list[tuple[set[Job], int, float]] = field(default_factory=list)
    steady: bool = True

    def about(self, job: Job) -> list[str]:
        """Everything that is known of one job: the witness of a violation."""
        lines = [f"enqueue: {self.asked.get(job, 'never asked for')}"]
        lines += [_shown(entry) for entry in self.log if entry.job == job]
        for claim in self.claims:
            tokens = [got[1] for got in claim.got if got[0] == job]
            lines += [
                f"claim by {claim.process} between {claim.asked} and {claim.answered}: token {t}"
                for t in tokens
            ]
        lines += [f"report token {r.token}: {r.do} {r.ended}" for r in self.reports if r.job == job]
        lines += [f"ledger token {e.token} xid {e.xid}" for e in self.ledger if e.job == job]
        lines.append(f"at the end: {self.final.get(job, 'not finished')}")
        return lines


def _shown(entry: Entry) -> str:
    known: dict[str, Any] = {
        name: value
        for name, value in zip(entry._fields[2:], entry[2:], strict=True)
        if value is not None
    }
    return f"log: {entry.entered} " + " ".join(f"{name}={value}" for name, value in known.items())
