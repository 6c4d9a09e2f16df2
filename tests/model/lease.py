"""
A model of one job's ownership: claim, heartbeat, rescue, complete, release; zombies and crashes.

As in sql/functions/claim.sql, tokens.sql, workers.sql, complete.sql and rescue.sql:

    claim      takes class 7067003 shared, looks whether its worker lives, moves the job;
               commits later
    rescue     declares a worker dead whose lease has ended, if it gets class 7067003 exclusive;
               takes back what dead workers run, unless its row is locked: then at a later call
    complete   deletes the running row where the token is the same; commits later, or never

A process that crashed knows nothing any more; what it has sent may still commit. A process that was
stopped goes on with what it believed, as late as it likes: every worker is a possible zombie. Time
passes in ticks. The reply to a commit may be lost, and the report is then repeated. The server may
crash behind a claim that it had not flushed: the claim is taken back, and the draw of its token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from tests.model.explorer import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

LEASE = 1  # ticks
ATTEMPTS = 2
RELEASES = 2  # to keep the model finite; workers have no such limit
CRASHES = 1  # of the server; likewise


class Process(NamedTuple):
    """A worker: its row in pgqueue.workers, and what the process believes."""

    up: bool = True
    row: str = "alive"  # alive, dead, rescued
    lease: int = LEASE
    claiming: bool = False  # a transaction that claims the job is open
    knows: int = 0  # the token that it believes in; 0 = none
    completing: int = 0  # a transaction that completes with this token is open


class State(NamedTuple):
    """The job, and who has to do with it."""

    place: str = "ready"  # ready, running, finished
    token: int = 0  # of the running or finishing attempt
    owner: int = -1
    attempts: int = 0
    released: int = 0
    drawn: int = 0  # claims so far: the token sequence
    unflushed: bool = False  # the last commit was a claim that a crash would take back
    crashes: int = 0
    robbed: bool = False  # a completion went through while another owned the job
    numbers: tuple[int, ...] = ()  # the attempt numbers of all claims
    accepted: tuple[int, ...] = ()
    workers: tuple[Process, ...] = (Process(), Process())


@dataclass(frozen=True, slots=True)
class Lease:
    """
    The protocol, with switches that break it.

    Attributes:
        fenced: A completion names its token; otherwise the job's id is enough.
        fresh_tokens: From a sequence; otherwise the attempt's number, which a release gives back.
        claims_locked: Rescue leaves a worker alone whose claim is in flight.
        rows_locked: A completion holds the running row from its look to its commit.
        leaps: After a crash the sequence leaps over what was drawn before.
    """

    fenced: bool = True
    fresh_tokens: bool = True
    claims_locked: bool = True
    rows_locked: bool = True
    leaps: bool = True

    def model(self) -> Model[State]:
        """For the explorer."""
        return Model(State(), self._steps, _wrong, lambda state: state.place == "finished")

    def _steps(self, s: State) -> Iterator[tuple[str, State]]:
        if any(w.lease for w in s.workers):
            older = tuple(w._replace(lease=max(w.lease - 1, 0)) for w in s.workers)
            yield "time passes", s._replace(workers=older)
        if s.unflushed:
            # Any later commit flushes it too.
            yield "the log is flushed", s._replace(unflushed=False)
            if s.crashes < CRASHES:
                yield "the server crashes, the last claim is taken back", self._crash(s)
        for n, w in enumerate(s.workers):
            for label, after in (
                *_membership(s, n, w),
                *self._claim(s, n, w),
                *self._complete(s, n, w),
                *self._release(s, n, w),
                *self._rescue(s, n, w),
            ):
                yield f"worker {n}: {label}", after

    def _crash(self, s: State) -> State:
        ended = tuple(w._replace(claiming=False, completing=0) for w in s.workers)
        back = s._replace(
            place="ready",
            owner=-1,
            attempts=s.attempts - 1,
            unflushed=False,
            crashes=s.crashes + 1,
            workers=ended,
        )
        return back if self.leaps else back._replace(drawn=s.drawn - 1, numbers=s.numbers[:-1])

    def _claim(self, s: State, n: int, w: Process) -> Iterator[tuple[str, State]]:
        free = s.place == "ready" and not any(x.claiming for x in s.workers)  # SKIP LOCKED
        if w.up and w.row == "alive" and w.lease and free and not w.knows:
            yield "claims", _with(s, n, claiming=True)
        if w.claiming:
            token = s.drawn + 1
            moved = s._replace(
                place="running",
                token=token,
                owner=n,
                attempts=s.attempts + 1,
                drawn=token,
                numbers=(*s.numbers, s.attempts + 1),
                unflushed=True,
            )
            if w.up:
                yield f"claim commits, token {token}", _with(moved, n, claiming=False, knows=token)
            yield "claim commits, the reply is lost", _with(moved, n, claiming=False)
            yield "claim rolls back", _with(s, n, claiming=False)

    def _complete(self, s: State, n: int, w: Process) -> Iterator[tuple[str, State]]:
        if w.up and w.knows and not w.completing:
            owned = s.place == "running" and self._owns(s, w.knows)
            locked = self.rows_locked and any(x.completing for x in s.workers)
            if owned and not locked:
                robbed = s.robbed or s.owner != n
                doing = _with(s, n, completing=w.knows)._replace(robbed=robbed)
                yield f"completes with token {w.knows}", doing
            elif s.place == "finished" and s.token == w.knows:
                yield "repeats its report, and hears that it is done", _with(s, n, knows=0)
            elif not owned:
                yield "is refused", _with(s, n, knows=0)
        if w.completing:
            done = s._replace(
                place="finished",
                token=w.completing,
                accepted=(*s.accepted, w.completing),
                unflushed=False,
            )
            yield "completion commits", _with(done, n, completing=0, knows=0)
            yield "completion commits, the reply is lost", _with(done, n, completing=0)
            yield "completion rolls back", _with(s, n, completing=0)

    def _owns(self, s: State, token: int) -> bool:
        if not self.fenced:
            return True
        same_number = s.numbers[token - 1] == s.numbers[s.token - 1]
        return token == s.token or (not self.fresh_tokens and same_number)

    def _release(self, s: State, n: int, w: Process) -> Iterator[tuple[str, State]]:
        mine = s.place == "running" and s.owner == n and not any(x.completing for x in s.workers)
        if w.up and mine and s.released < RELEASES and w.knows in {0, s.token}:
            back = s._replace(
                place="ready",
                owner=-1,
                attempts=s.attempts - 1,
                released=s.released + 1,
                unflushed=False,
            )
            yield "gives the job back", _with(back, n, knows=0)
            if w.knows:
                yield "gives the job back, and a thread goes on", back

    def _rescue(self, s: State, n: int, w: Process) -> Iterator[tuple[str, State]]:
        if w.row == "alive" and not w.lease and not (self.claims_locked and w.claiming):
            yield "is declared dead", _with(s, n, row="dead")._replace(unflushed=False)
        if w.row == "dead":
            if s.place != "running" or s.owner != n:
                yield "has nothing left to rescue", _with(s, n, row="rescued")
            elif not self.rows_locked or not any(x.completing for x in s.workers):
                last = s.attempts >= ATTEMPTS
                taken = s._replace(place="finished" if last else "ready", owner=-1, unflushed=False)
                yield (
                    f"its job is {'failed' if last else 'taken back'}",
                    _with(taken, n, row="rescued"),
                )


def _membership(s: State, n: int, w: Process) -> Iterator[tuple[str, State]]:
    if w.up and w.row == "alive" and w.lease < LEASE:
        yield "heartbeat", _with(s, n, lease=LEASE)
    if w.up:
        yield "crashes", _with(s, n, up=False, knows=0)
    if w.row == "rescued":
        # A new row; a thread of the old one may still believe in its token.
        yield "registers again", _with(s, n, up=True, row="alive", lease=LEASE)


def _with(s: State, n: int, **changes: object) -> State:
    changed = s.workers[n]._replace(**changes)  # type: ignore[arg-type]
    return s._replace(workers=(*s.workers[:n], changed, *s.workers[n + 1 :]))


def _wrong(s: State) -> str | None:
    if len(s.accepted) > 1:
        return "two completions are accepted"
    if s.accepted and s.accepted[0] != s.drawn:
        return "a stale completion is accepted"
    if s.robbed:
        return "a zombie completes what another owns"
    if s.place == "running" and s.workers[s.owner].row == "rescued":
        return "a job runs behind the rescue of its worker: nobody takes it back"
    return None


BROKEN = {
    "completion by job id": replace(Lease(), fenced=False),
    "the attempt number as the token": replace(Lease(), fresh_tokens=False),
    "rescue that overtakes a claim in flight": replace(Lease(), claims_locked=False),
    "completion that looks first and writes later": replace(Lease(), rows_locked=False),
    "tokens that a crash takes back": replace(Lease(), leaps=False),
}
