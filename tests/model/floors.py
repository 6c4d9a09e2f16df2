"""
A model of floors: sql/functions/claim.sql, pgqueue/worker/floors.py.

Jobs draw their positions when they are inserted and become visible when they commit, in any order.
A worker claims one at a time, at or above its floor, and raises the floor above what it got; every
few claims, and before it sleeps, it sweeps: it claims without a floor. Another worker's claim can
roll back, which brings back a job from below the floor. A commit wakes the sleeper: bell.py is the
model of that. Wrong is a sleeper with a committed job, and a job that is overtaken more often
than the claims between sweeps allow: each sweep takes it, or one that was inserted earlier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from tests.model.explorer import Model

if TYPE_CHECKING:
    from collections.abc import Iterator


class Job(NamedTuple):
    """A row of ready, or one that was or will be."""

    at: str = "new"  # new, inserted, ready, taken (by the other worker, not committed), gone
    pos: int = 0
    overtaken: int = 0  # claims of ours that got a later position


class State(NamedTuple):
    """All jobs, and our worker."""

    jobs: tuple[Job, ...]
    drawn: int = 0
    floor: int = 0
    since: int = 0  # claims since the last sweep
    asleep: bool = False


@dataclass(frozen=True, slots=True)
class Floors:
    """
    The protocol, and switches that break it.

    Attributes:
        every: A sweep is due after so many claims; the engine counts time.
        sweeps_before_sleep: The last claim is one without a floor.
        sweeps_when_busy: So is one of every few.
        inserts_wake: A commit wakes the sleeper.
    """

    jobs: int = 4
    every: int = 1
    sweeps_before_sleep: bool = True
    sweeps_when_busy: bool = True
    inserts_wake: bool = True

    def model(self) -> Model[State]:
        """For the explorer."""
        start = State((Job(),) * self.jobs)
        return Model(start, self._steps, self._wrong, lambda s: all(j.at == "gone" for j in s.jobs))

    def _steps(self, s: State) -> Iterator[tuple[str, State]]:
        for n, job in enumerate(s.jobs):
            match job.at:
                case "new" if "new" not in {j.at for j in s.jobs[:n]}:  # jobs are alike
                    drawn = s.drawn + 1
                    inserted = _job(s, n, at="inserted", pos=drawn)._replace(drawn=drawn)
                    yield f"job {n} is inserted at position {drawn}", inserted
                case "inserted":
                    woken = s._replace(asleep=s.asleep and not self.inserts_wake)
                    yield f"job {n} commits", _job(woken, n, at="ready")
                    yield f"job {n} rolls back", _job(s, n, at="gone")
                case "ready" if not s.asleep:
                    # Awake, as its doorman: a sleeper is rung for what another worker gives back.
                    yield f"another worker takes job {n}", _job(s, n, at="taken", overtaken=0)
                case "taken":
                    yield f"it commits job {n}", _job(s, n, at="gone")
                    woken = s._replace(asleep=False)
                    yield f"it rolls back job {n}, and looks again", _job(woken, n, at="ready")
                case _:
                    pass
        if not s.asleep:
            yield from self._claim(s)

    def _claim(self, s: State) -> Iterator[tuple[str, State]]:
        sweep = s.since >= self.every and self.sweeps_when_busy
        found = _head(s, 0 if sweep else s.floor)
        how = "sweeps" if sweep else f"claims from position {s.floor}"
        if found is None and not sweep:
            found = _head(s, 0) if self.sweeps_before_sleep else None
            how, sweep = f"{how}, finds nothing, and sweeps", self.sweeps_before_sleep
        since = 0 if sweep else min(s.since + 1, self.every)
        if found is None:
            nothing = s._replace(since=since, asleep=True)
            yield f"the worker {how}, finds nothing, and sleeps", nothing
            return
        pos = s.jobs[found].pos
        jobs = tuple(
            job._replace(overtaken=job.overtaken + 1)
            if job.at == "ready" and job.pos < pos
            else job
            for job in s.jobs
        )
        after = s._replace(jobs=jobs, since=since, floor=max(s.floor, pos + 1))
        yield f"the worker {how}, and gets job {found}", _job(after, found, at="gone")

    def _wrong(self, s: State) -> str | None:
        waiting = [job for job in s.jobs if job.at == "ready"]
        if s.asleep and waiting:
            return "the worker sleeps, and a committed job waits"
        if any(job.overtaken > self.every * job.pos for job in waiting):
            return "a committed job is overtaken again and again"
        return None


def _head(s: State, floor: int) -> int | None:
    ready = [(job.pos, n) for n, job in enumerate(s.jobs) if job.at == "ready" and job.pos >= floor]
    return min(ready)[1] if ready else None


def _job(s: State, n: int, **changes: object) -> State:
    changed = s.jobs[n]._replace(**changes)  # type: ignore[arg-type]
    return s._replace(jobs=(*s.jobs[:n], changed, *s.jobs[n + 1 :]))


BROKEN = {
    "sleep without a sweep": replace(Floors(), sweeps_before_sleep=False),
    "no sweep while busy": replace(Floors(), sweeps_when_busy=False),
    "a commit that wakes nobody": replace(Floors(), inserts_wake=False),
}
