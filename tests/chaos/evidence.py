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


class Batch(NamedTuple):
    """A batch as it was at the end: its own numbers, and the jobs that name it."""

    batch: str
    jobs: frozenset[Job]
    counts: tuple[int, int, int, int]  # all, succeeded, failed, cancelled
    settled: bool  # over, and what was to follow has been enqueued
    callbacks: dict[str, int]  # success, failure, complete: how many jobs came of each


class Money(NamedTuple):
    """A row of the log of money: reserve, unreserve, or the kind of an entry."""

    wallet: int
    job: Job | None
    what: str
    amount: int
    reference: str | None = None
    xid: int = 0


@dataclass(slots=True)
class Flow:
    """
    What is known of limits, orders, batches, signals, quotas and money.

    Attributes:
        gates: What a job must pass: names of limits and rates.
        limited_at: Before this there was no gate (monotonic nanoseconds).
        limits: At most so many attempts at once, by gate.
        rates: Seconds between starts, and how many may come at once, by gate.
        ordered: The ordering key of a job, and whether its failure blocks those behind.
        skipped: When an operator asked that a failed job give way (monotonic nanoseconds).
        batches: All that were opened.
        joined: Jobs that were acknowledged as members of a batch.
        asking: Jobs that wait for one signal.
        told: Those that were sent one, or may have been.
        unheard: Those that have theirs and wait all the same, and nobody will look.
        tenants: The tenant of a job, where it has a quota.
        quotas: How many jobs a tenant may have waiting.
        money: The log of money, in order.
        wallets: Balance and pending of each, as metering says.
        deposits: How each ended, and its amount, by reference.
        prices: What a job costs.
        held: Jobs that wait for money.
    """

    gates: dict[Job, tuple[str, ...]] = field(default_factory=dict)
    limited_at: int = 0
    limits: dict[str, int] = field(default_factory=dict)
    rates: dict[str, tuple[float, int]] = field(default_factory=dict)
    ordered: dict[Job, tuple[str, bool]] = field(default_factory=dict)
    skipped: dict[Job, int] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    joined: dict[Job, str] = field(default_factory=dict)
    asking: set[Job] = field(default_factory=set)
    told: set[Job] = field(default_factory=set)
    unheard: list[Job] = field(default_factory=list)
    tenants: dict[Job, str] = field(default_factory=dict)
    quotas: dict[str, int] = field(default_factory=dict)
    money: list[Money] = field(default_factory=list)
    wallets: dict[int, tuple[int, int]] = field(default_factory=dict)
    deposits: dict[str, tuple[str, int]] = field(default_factory=dict)
    prices: dict[Job, int] = field(default_factory=dict)
    held: set[Job] = field(default_factory=set)


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
        steady: The server's clock did not jump.
        problems: What verify() says.
        flow: Limits, orders, batches, signals, quotas, money.
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
    steady: bool = True
    problems: list[str] = field(default_factory=list)
    flow: Flow = field(default_factory=Flow)

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
