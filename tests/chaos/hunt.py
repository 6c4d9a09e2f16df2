"""Each mutant is put to work, and the checker must notice it in time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.chaos import flow
from tests.chaos.arena import Arena
from tests.chaos.checker import check
from tests.chaos.collect import evidence_of
from tests.chaos.nemeses.workers import Zombie
from tests.chaos.run import WAKE_PAUSE_SECONDS, WAKE_POLL_SECONDS, WAKE_SECONDS

if TYPE_CHECKING:
    from tests.chaos.mutants import Mutant

HUNT_SECONDS = 90.0
CONTROL_SECONDS = 20.0
LOOK_SECONDS = 2.0
FLOW_PRODUCERS, FLOW_RATE = 2, 12
LEASE_SECONDS = 1.0
# While the run goes on, the database is a step ahead of its clients: these would be false.
ONLY_AT_THE_END = frozenset({"lost", "unseen_claim", "phantom", "ghost"})


@dataclass(frozen=True, slots=True)
class Catch:
    """How a hunt ended: after how long, and by which violations."""

    seconds: float
    kinds: frozenset[str]
    caught: bool
    errors: tuple[str, ...] = ()


def hunt(
    mutant: Mutant | None,
    *,
    version: int,
    seed: int,
    seconds: float = HUNT_SECONDS,
    with_flow: bool = False,
) -> Catch:
    """
    Run a mutant until it is noticed.

    Args:
        mutant: None: the engine as it is, which must not be noticed.
        version: Of PostgreSQL.
        seed: Of everything random.
        seconds: Give up then.
        with_flow: The load has limits, batches, signals and wallets, too.
    """
    arena = Arena(version, seed)
    with_flow = with_flow or (mutant is not None and mutant.flow)
    if with_flow:
        arena.prepare = flow.prepare
    environment: dict[str, str] = {}
    if mutant is not None:
        arena.patch = mutant.apply
        if mutant.function is None:
            environment["CHAOS_MUTANT"] = mutant.name
    nemesis = Zombie()
    nemesis.lease_seconds = LEASE_SECONDS
    with arena:
        if with_flow:
            flow.limit(arena)
        _load(arena, environment, seconds)
        if with_flow:
            _load_flow(arena, seconds)
        began = time.monotonic()
        with nemesis.on(arena):
            while True:
                time.sleep(LOOK_SECONDS)
                kinds = _look(arena)
                wanted = kinds & mutant.kinds if mutant is not None else kinds
                took = time.monotonic() - began
                if wanted or took > seconds:
                    return Catch(took, kinds, bool(wanted), tuple(arena.errors))


def _load(arena: Arena, environment: dict[str, str], seconds: float) -> None:
    """Long and short jobs, for workers that become zombies, and one that sleeps."""
    options: dict[str, Any] = {"environment": environment, "lease_seconds": LEASE_SECONDS}
    arena.keep_workers(*[options] * 4)
    arena.start_worker(
        "sleeper",
        environment=environment,
        queues=("wake",),
        poll_seconds=WAKE_POLL_SECONDS,
        lease_seconds=20.0,
    )
    arena.start_producer("p1", kind="mixed", jobs=40 * int(seconds), rate=40, slow=True)
    arena.start_producer("waker", kind="wake", queue="wake", jobs=1_000, pause=WAKE_PAUSE_SECONDS)
    arena.start_producer("patient", kind="patient", seconds=seconds)


def _load_flow(arena: Arena, seconds: float) -> None:
    for n in range(FLOW_PRODUCERS):
        jobs = FLOW_RATE * seconds
        arena.start_producer(f"works{n + 1}", kind="works", jobs=jobs, rate=FLOW_RATE)
    arena.start_producer("limits", kind="limits", jobs=40 * seconds, rate=40)
    arena.start_producer("steward", kind="steward")


def _look(arena: Arena) -> frozenset[str]:
    # The events first: whatever they tell of is in the log by then. Not those that come meanwhile:
    # the file of whoever caused them has been read.
    now = time.monotonic_ns()
    events = [event for event in arena.events() if event["t"] < now]
    with arena.db() as db:
        evidence = evidence_of(db, events)
    evidence.drained = False
    evidence.flow.told = evidence.flow.asking
    evidence.wake_seconds = WAKE_SECONDS
    enough = now - int(WAKE_SECONDS * 1e9)
    evidence.wakes = [wake for wake in evidence.wakes if wake.committed < enough]
    kinds = check(evidence).kinds
    return frozenset(kinds - ONLY_AT_THE_END)
