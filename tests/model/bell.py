"""
A model of the doorbell: sql/functions/doorbell.sql, pgqueue/worker/doorbell.py and engine.py.

Producers insert (the trigger tries the door's lock), become visible, then let the lock go and
deliver their NOTIFY; or roll back. Workers claim, lie down by rest() whose tries are single steps,
claim once more if they got the door, sleep, hear, get up by leave(), whose unlock and call are
separate steps too. Messages arrive late. Nobody polls: what needs a poll is wrong here. One queue,
and every worker handles every type.

Wrong is a state in which a committed job waits, a worker with room sleeps, no wake-up is on its way
to anybody, and nobody else is about to look or to pass the door on. A worker whose handlers keep it
full does not count: they may take hours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from tests.model.explorer import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

NONE = -1


class W(NamedTuple):
    """A worker."""

    at: str = "look"  # what it does next
    free: int = 1
    place: int = NONE  # as it believes: 0 the door, n a seat; kept when it gets up
    taken: int = NONE  # as the server has it
    held: bool = False
    rung: bool = False
    called: bool = False
    owes: bool = False
    inbox: tuple[int, ...] = ()  # 0 = ring, n = call to seat n


class State(NamedTuple):
    """Everybody."""

    workers: tuple[W, ...]
    producers: tuple[str, ...]  # new, shared (has the lock), loud (will notify), +visible, done
    ready: int = 0


@dataclass(frozen=True, slots=True)
class Bell:
    """
    The protocol, its size, and switches that break it.

    Attributes:
        sorts: Workers are alike: n! fewer states. The stories of counterexamples then change names.
        holds_lock: An inserter keeps the door's lock until its job is visible.
        last_claim: The doorman claims once more before it sleeps. Who has a seat need not.
        second_look: Who has taken a seat tries the door again.
        second_shared_look: And if that fails, finds out whether a doorman or an inserter has it.
        passes_on: Who becomes full calls the bench.
        hears_while_resting: What comes in during rest() counts, by the place that rest() found.
    """

    workers: int = 2
    room: int = 1
    jobs: int = 2
    sorts: bool = True
    holds_lock: bool = True
    last_claim: bool = True
    second_look: bool = True
    second_shared_look: bool = True
    passes_on: bool = True
    hears_while_resting: bool = True

    def model(self) -> Model[State]:
        """For the explorer."""
        start = State((W(free=self.room),) * self.workers, ("new",) * self.jobs)
        return Model(start, self._steps, self._wrong, lambda s: set(s.producers) == {"done"})

    def _steps(self, s: State) -> Iterator[tuple[str, State]]:
        for label, after in self._all_steps(s):
            yield (
                label,
                after._replace(workers=tuple(sorted(after.workers))) if self.sorts else after,
            )

    def _all_steps(self, s: State) -> Iterator[tuple[str, State]]:
        for n, p in enumerate(s.producers):
            if p != "done" and p not in s.producers[:n]:  # producers are alike
                for label, after in self._produce(s, n, p):
                    yield f"producer: {label}", after
        for n, w in enumerate(s.workers):
            for label, after in self._work(s, n, w):
                yield f"worker {n}: {label}", after
            if w.free < self.room:
                yield f"worker {n}: a handler ends", _finish(s, n, w)
                if w.at == "full":
                    # Engine._last_words(): it reports from the place that it takes.
                    after = _finish(s, n, w)
                    yield f"worker {n}: its last handler ends", _worker(after, n, at="try the door")
            if w.at != "rested":
                for message in w.inbox:
                    yield f"worker {n}: hears {_word(message)}", _hear(s, n, w, message)

    def _produce(self, s: State, n: int, p: str) -> Iterator[tuple[str, State]]:
        if p == "new":
            kept = "loud" if _door(s) is not None else "shared" if self.holds_lock else "quiet"
            yield f"inserts ({kept})", _producer(s, n, kept)
        elif p.endswith("+visible"):
            after = _producer(s, n, "done")
            yield "its locks and its NOTIFY go out", _send(after, 0) if "loud" in p else after
        else:
            yield "commits", _producer(s, n, f"{p}+visible")._replace(ready=s.ready + 1)
            yield "rolls back", _producer(s, n, "done")

    def _work(self, s: State, n: int, w: W) -> Iterator[tuple[str, State]]:
        match w.at:
            case "look":
                yield from self._claim(s, n, w, otherwise="try the door")
            case "try the door" | "sit down" | "try again" | "rested":
                yield from self._lie_down(s, n, w)
            case "last claim":
                yield from self._claim(s, n, w, otherwise="asleep")
            case "asleep" if w.rung:
                yield from self._wake(_worker(s, n, rung=False, called=False), n, w)
            case "pass on":
                yield (
                    "lets its place go",
                    _worker(s, n, taken=NONE, held=False, owes=False, at="call"),
                )
            case "call":
                seats = [o.taken for o in s.workers if o.taken > 0]
                full = _worker(s, n, at="full")
                yield "calls the bench", _send(full, min(seats)) if seats else full
            case "full" if (w.held or w.owes) and self.passes_on:
                yield "is full", _worker(s, n, at="pass on")
            case _:
                pass

    def _lie_down(self, s: State, n: int, w: W) -> Iterator[tuple[str, State]]:
        """The steps of rest(), and what its caller makes of the answer."""
        in_flight = any("shared" in p for p in s.producers)
        match w.at:
            case "try the door":
                if self.hears_while_resting:
                    s = _worker(s, n, rung=False, called=False)
                if _door(s) is None and not in_flight:
                    yield "takes the door", _worker(s, n, taken=0, at="rested")
                elif _door(s) is None:
                    yield "an insert is in flight", _worker(s, n, at="look")
                else:
                    yield "finds the door taken", _worker(s, n, at="sit down")
            case "sit down":
                seat = next(x for x in range(1, 9) if all(o.taken != x for o in s.workers))
                after = "try again" if self.second_look else "rested"
                yield f"takes seat {seat}", _worker(s, n, taken=seat, at=after)
            case "try again":
                if _door(s) is not None or (in_flight and not self.second_shared_look):
                    yield "finds the door taken again", _worker(s, n, at="rested")
                elif in_flight:
                    yield "an insert is in flight, gets up", _worker(s, n, taken=NONE, at="look")
                else:
                    yield "finds the door open after all", _worker(s, n, taken=0, at="rested")
            case "rested":
                heard = (
                    {}
                    if self.hears_while_resting
                    else {"inbox": (), "rung": False, "called": False}
                )
                at = "last claim" if self.last_claim and not w.taken else "asleep"
                yield (
                    "knows its place",
                    _worker(s, n, place=w.taken, held=True, owes=False, at=at, **heard),
                )

    def _claim(self, s: State, n: int, w: W, *, otherwise: str) -> Iterator[tuple[str, State]]:
        found = min(w.free, s.ready)
        if not found:
            yield "finds nothing", _worker(s, n, at=otherwise)
            return
        free = w.free - found
        after = _worker(s._replace(ready=s.ready - found), n, free=free)
        at = "asleep" if w.at == "last claim" else "look"
        yield f"claims {found}", _worker(after, n, at=at if free else "full")

    def _wake(self, s: State, n: int, w: W) -> Iterator[tuple[str, State]]:
        """Of Engine._rest(): to the door if it is called, else a claim because somebody rang."""
        if w.called:
            yield "is called", _leave(s, n, at="try the door")
            return
        found = min(w.free, s.ready)
        after = _worker(s._replace(ready=s.ready - found), n, free=w.free - found)
        if found >= w.free:
            yield (
                f"is woken, claims {found}",
                _worker(after, n, at="pass on" if self.passes_on else "full"),
            )
        elif found:
            yield f"is woken, claims {found}", after
            yield f"is woken, claims {found}, stays up", _leave(after, n, at="look")
        else:
            yield "is woken, finds nothing", after

    def _wrong(self, s: State) -> str | None:
        if not s.ready or any(p.endswith("+visible") for p in s.producers):
            return None
        for w in s.workers:
            about_to = w.at not in {"asleep", "full"} or (w.at == "asleep" and w.rung)
            passing = w.at == "full" and (w.held or w.owes) and self.passes_on
            if about_to or passing or any(_meant(w, message) for message in w.inbox):
                return None
        if any(w.at == "asleep" and w.free for w in s.workers):
            return "a job waits, a worker sleeps, and no wake-up is on its way"
        return None


def _door(s: State) -> int | None:
    return next((n for n, w in enumerate(s.workers) if w.taken == 0), None)


def _meant(w: W, message: int) -> bool:
    return message == w.place


def _word(message: int) -> str:
    return "a call to its seat" if message else "a ring"


def _hear(s: State, n: int, w: W, message: int) -> State:
    s = _worker(s, n, inbox=tuple(m for m in w.inbox if m != message))
    if not _meant(w, message):
        return s
    owes = w.owes or message > 0
    if w.at in {"asleep", "last claim"}:
        return _worker(s, n, rung=True, called=w.called or message > 0, owes=owes)
    # It is up: it looks anyway, and forgets the ring before it lies down.
    return _worker(s, n, owes=owes)


def _send(s: State, message: int) -> State:
    # Dropped at once where it names no place of its receiver, now or when rest() returns.
    return s._replace(
        workers=tuple(
            w._replace(inbox=tuple(sorted({*w.inbox, message})))
            if message in {w.place, w.taken} or w.at in {"sit down", "try again", "rested"}
            else w
            for w in s.workers
        )
    )


def _leave(s: State, n: int, *, at: str) -> State:
    """Without passing on: it owes the bench a call."""
    w = s.workers[n]
    owes = w.owes or (w.held and w.place == 0)
    return _worker(s, n, taken=NONE, held=False, owes=owes, at=at)


def _finish(s: State, n: int, w: W) -> State:
    return _worker(s, n, free=w.free + 1, at="look" if w.at == "full" else w.at)


def _producer(s: State, n: int, now: str) -> State:
    changed = (*s.producers[:n], now, *s.producers[n + 1 :])
    return s._replace(producers=tuple(sorted(changed)))


def _worker(s: State, n: int, **changes: object) -> State:
    changed = s.workers[n]._replace(**changes)  # type: ignore[arg-type]
    return s._replace(workers=(*s.workers[:n], changed, *s.workers[n + 1 :]))


SOUND = {
    "2 workers, 2 jobs": Bell(),
    "2 workers with room for 2, 3 jobs": Bell(room=2, jobs=3),
    "3 workers, 1 job": Bell(workers=3, jobs=1),
}
_NAMED = Bell(sorts=False)
BROKEN = {
    "an inserter that lets the lock go before it is visible": replace(_NAMED, holds_lock=False),
    "sleep without a last claim": replace(_NAMED, last_claim=False),
    "a seat without a second look at the door": replace(_NAMED, second_look=False),
    "a second look that takes an inserter for a doorman": replace(_NAMED, second_shared_look=False),
    "a full worker that does not pass the door on": replace(_NAMED, passes_on=False),
    "deafness while lying down": replace(_NAMED, jobs=3, hears_while_resting=False),
}
