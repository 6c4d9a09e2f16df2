"""What happens to worker processes: killed, stopped past their lease, replaced, poisoned."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.chaos.nemesis import Nemesis

if TYPE_CHECKING:
    from tests.chaos.arena import Arena, Child

# Of pgqueue/_pause.py.
PLACES = ("after_claim", "before_report", "after_report", "before_last_claim", "before_commit")
LEASE_SECONDS = 2.0
PAUSED_SECONDS = 12.0  # a worker needs seconds to start on a busy machine
POISONS = ("exit", "segfault", "memory", "loop")
INSERT = (
    "insert into pgqueue.jobs (id, job_type, queue, payload) values (%s, %s, 'bulk', %s::jsonb)"
)


class Kill(Nemesis):
    """kill -9 at random, the process group as a whole."""

    name = "kill -9 of workers"
    every = (0.4, 1.5)

    def strike(self, arena: Arena) -> None:
        """Kill one."""
        if arena.alive:
            self.draw.choice(arena.alive).send(signal.SIGKILL)


class KillAtPlace(Nemesis):
    """kill -9 at every place that pgqueue/_pause.py names."""

    name = "kill -9 at named places"
    every = (0.1, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self._hits: Counter[str] = Counter()

    @property
    def note(self) -> str:
        """How many were killed where."""
        return ", ".join(f"{place} {self._hits[place]}" for place in PLACES)

    def strike(self, arena: Arena) -> None:
        """Start a worker for each place, and kill each as soon as it stands there."""
        waiting = {place: _pausing(arena, place) for place in PLACES}
        deadline = time.monotonic() + PAUSED_SECONDS
        while waiting and time.monotonic() < deadline:
            for place, child in list(waiting.items()):
                if _paused(child, place):
                    child.send(signal.SIGKILL)
                    self._hits[place] += 1
                    del waiting[place]
            time.sleep(0.02)
        for child in waiting.values():
            child.send(signal.SIGKILL)


class Zombie(Nemesis):
    """Workers are stopped for longer than their lease, and go on as if nothing had happened."""

    name = "workers stopped past their lease"
    every = (0.1, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.lease_seconds = LEASE_SECONDS
        self._stopped: Child | None = None

    def strike(self, arena: Arena) -> None:
        """Stop one for 1.2 to 2 leases."""
        awake = [worker for worker in arena.alive if worker.name != "sleeper"]
        if not awake:
            return
        self._stopped = self.draw.choice(awake)
        self._stopped.send(signal.SIGSTOP)
        time.sleep(self.lease_seconds * self.draw.uniform(1.2, 2.0))
        self._stopped.send(signal.SIGCONT)

    def stop(self, arena: Arena) -> None:
        """Let the last one go on."""
        del arena
        if self._stopped is not None:
            self._stopped.send(signal.SIGCONT)


class ZombieAtPlace(Nemesis):
    """As `Zombie`, at the named places: between a claim and its start, before COMMIT."""

    name = "workers stopped at named places"
    every = (0.1, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self._children: list[Child] = []

    def strike(self, arena: Arena) -> None:
        """Start a worker that stops at the next place, and wake it when its jobs are others'."""
        place = PLACES[self.strikes % len(PLACES)]
        child = _pausing(arena, place)
        deadline = time.monotonic() + PAUSED_SECONDS
        while not _paused(child, place) and child.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        self._children.append(child)
        time.sleep(LEASE_SECONDS * self.draw.uniform(1.2, 1.6))
        child.send(signal.SIGCONT)
        # So that it says what it has to say before it stops at the same place again.
        time.sleep(0.3)

    def stop(self, arena: Arena) -> None:
        """They would stop again and again."""
        del arena
        for child in self._children:
            child.send(signal.SIGKILL)


class RollingRestart(Nemesis):
    """SIGTERM, twice for some: as at a deployment."""

    name = "rolling restarts"
    every = (0.5, 1.5)

    def strike(self, arena: Arena) -> None:
        """Have one finish; the keeper starts its successor."""
        if arena.alive:
            child = self.draw.choice(arena.alive)
            child.send(signal.SIGTERM, group=False)
            if self.draw.random() < 0.2:
                time.sleep(0.1)
                child.send(signal.SIGTERM, group=False)


class Poison(Nemesis):
    """Handlers that exit, crash, eat memory or never end; some take the worker with them."""

    name = "poison handlers"
    every = (1.0, 2.0)

    def strike(self, arena: Arena) -> None:
        """Enqueue one of each kind that kills its child, sometimes one that kills its worker."""
        jobs = [("poison", f'{{"kind": "{kind}"}}') for kind in POISONS]
        if self.strikes % 3 == 0:
            jobs.append(("deadly", "{}"))
        with arena.db() as db:
            for job_type, payload in jobs:
                job_id = str(uuid4())
                arena.record("enqueue", "invoke", n=job_id, jobs=[job_id], autocommit=True)
                db.execute(INSERT, (job_id, job_type, payload))
                arena.record("enqueue", "ok", n=job_id)


def _pausing(arena: Arena, place: str) -> Child:
    return arena.start_worker(environment={"PGQUEUE_TEST_PAUSE": place})


def _paused(child: Child, place: str) -> bool:
    return f"paused {place}" in child.said
