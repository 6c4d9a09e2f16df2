"""
All interleavings of the steps of a few sessions, on real connections.

A spec names sessions and their steps, as the specs of PostgreSQL's isolationtester do. The explorer
runs it from the start once per interleaving: at each point every session that is not blocked may
take its next step, and each choice is tried. A step is over when the server has answered, or when
`pg_blocking_pids` says that it waits for somebody who does nothing at present; then the others go
on. A session that waits for ever, a deadlock, or an SQLSTATE that the spec does not expect is a
failure, and so is what the spec's own check and `pgqueue.verify()` find at the end of an
interleaving. The failure prints the interleaving as a script.

The same choices lead to the same run, on every version. The one exception is two sessions that wait
for the same commit: the server wakes both at once. A run that strays for that is checked as any
other, and tried again.
"""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import sql

from tests.races.wire import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.support.sqljobs import Db

SECONDS = 20.0  # a step that neither ends nor blocks within this time is a failure
_LOOK_SECONDS = 0.002  # a step that has not ended by then may be blocked: ask
_TRIES = 5  # of a run that strays
_VARIABLE = re.compile(r"(?<!:):([a-z_]\w*)")
_WIPE = "; ".join(
    f"delete from pgqueue.{table}"
    for table in (
        *("ready", "scheduled", "blocked", "running", "dependencies", "jobs", "workers"),
        *("queues", "job_types", "stats_log", "stats", "batches", "batch_log"),
        *("limits", "slots", "openings", "gate_buckets", "ordered_jobs"),
    )
)
END = "end"  # as a session's last step: tried as commit and as rollback


@dataclass(frozen=True, slots=True)
class Step:
    """
    One thing that a session sends at once.

    Attributes:
        sql: Statements as in psql; `:name` is a value of the setup, or `:session_column` one of an
            earlier answer's (null without one).
        on: The connection; by default the session's own.
    """

    sql: str
    on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """
    Sessions that race.

    Attributes:
        setup: Makes the state that they start from; returns values for the steps.
        sessions: The steps of each, in order.
        check: Asserts what must hold in the end.
        allowed: SQLSTATEs that a step may meet; the rest of its transaction is then left out.
        at_least: How many interleavings there are; fewer mean that something was not explored.
    """

    name: str
    setup: Callable[[Db], dict[str, Any]]
    sessions: Mapping[str, Sequence[str | Step]]
    check: Callable[[Run], None]
    allowed: frozenset[str] = frozenset()
    at_least: int

    def variants(self) -> Iterator[dict[str, list[Step]]]:
        """The sessions with each END as a commit and as a rollback."""
        steps = {
            name: [step if isinstance(step, Step) else Step(step) for step in given]
            for name, given in self.sessions.items()
        }
        open_ended = [name for name, given in steps.items() if given[-1].sql == END]
        for ends in itertools.product(("commit", "rollback"), repeat=len(open_ended)):
            last = dict(zip(open_ended, ends, strict=True))
            yield {
                name: [*given[:-1], Step(last[name])] if name in last else given
                for name, given in steps.items()
            }


@dataclass(slots=True)
class Run:
    """
    One interleaving, while it runs and for the check afterwards.

    Attributes:
        db: For looking, outside of all transactions.
        values: What the setup returned, and the columns of answers.
        path: Who took the steps.
        options: Who could have, at each point.
        strayed: Two that waited for the same commit woke in another order than last time, so that
            the one whose turn it was is blocked.
        events: (session, step, "begins" or "ends") in order.
    """

    db: Db
    wires: Mapping[str, Wire]
    steps: dict[str, list[Step]]
    values: dict[str, Any]
    path: list[str] = field(default_factory=list)
    options: list[list[str]] = field(default_factory=list)
    events: list[tuple[str, int, str]] = field(default_factory=list)
    script: list[str] = field(default_factory=list)
    answers: dict[tuple[str, int], Answer] = field(default_factory=dict)
    blocked: int = 0
    strayed: bool = False
    _next: dict[str, int] = field(default_factory=dict)
    _waits: dict[str, int] = field(default_factory=dict)

    def go(self, prefix: Sequence[str], allowed: frozenset[str]) -> None:
        """Take the steps of *prefix*, then those of the first session that can, to the end."""
        self._next = dict.fromkeys(self.steps, 0)
        while True:
            able = [
                name
                for name, at in self._next.items()
                if at < len(self.steps[name]) and name not in self._waits
            ]
            if able:
                depth = len(self.path)
                name = prefix[depth] if depth < len(prefix) and not self.strayed else able[0]
                if name not in able:
                    self.strayed, name = True, able[0]
                self.path.append(name)
                self.options.append(able)
                self._begin(name)
            elif not self._waits:
                return
            self._settle(allowed, must_end=not able)

    def answer(self, name: str, step: int = 0) -> Answer:
        """What *name* heard; empty if the step was left out after a failure."""
        return self.answers.get((name, step), Answer([]))

    def committed(self, name: str) -> bool:
        """Whether all that *name* did counts; False for a session that this spec has not."""
        return (
            name in self.steps
            and self.steps[name][-1].sql != "rollback"
            and not any(answer.sqlstate for (who, _), answer in self.answers.items() if who == name)
        )

    def before(self, one: tuple[str, int], other: tuple[str, int]) -> bool:
        """Whether a step had ended before another one began."""
        ends, begins = (*one, "ends"), (*other, "begins")
        return ends in self.events and self.events.index(ends) < self.events.index(begins)

    def _begin(self, name: str) -> None:
        at = self._next[name]
        step = self.steps[name][at]
        text = _VARIABLE.sub(lambda found: self._literal(found[1]), step.sql)
        self.script.append(f"{text};  -- {name}")
        self.events.append((name, at, "begins"))
        self.wires[step.on or name].send(text)
        self._waits[name] = at

    def _literal(self, name: str) -> str:
        return sql.Literal(self.values.get(name)).as_string()

    def _settle(self, allowed: frozenset[str], *, must_end: bool) -> None:
        """Wait until whoever has been sent something has answered or waits for an idle one."""
        deadline = time.monotonic() + SECONDS
        while self._waits:
            ended = False
            for name, at in list(self._waits.items()):
                wire = self.wires[self.steps[name][at].on or name]
                found = wire.answer(_LOOK_SECONDS)
                if found is not None:
                    ended = True
                    self._note(name, at, found, allowed)
            if not ended and not must_end and self._all_blocked():
                self.blocked += 1
                return
            must_end = must_end and not ended
            assert time.monotonic() < deadline, f"these neither end nor block: {self._waits}"

    def _all_blocked(self) -> bool:
        pids = [self.wires[self.steps[n][at].on or n].pid for n, at in self._waits.items()]
        found = self.db.execute(
            "select bool_and(pg_blocking_pids(p) <> '{}') from unnest(%s::integer[]) p", (pids,)
        ).fetchone()
        return bool(found and found[0])

    def _note(self, name: str, at: int, found: Answer, allowed: frozenset[str]) -> None:
        del self._waits[name]
        self.events.append((name, at, "ends"))
        self.answers[name, at] = found
        self._next[name] = at + 1
        if found.sqlstate is not None:
            assert found.sqlstate in allowed, f"{name}: {found.sqlstate} {found.message}"
            self.script.append(f"--   {found.sqlstate}")
            last = len(self.steps[name]) - 1
            self._next[name] = max(at + 1, last)  # what is left is the end of its transaction
        for column, value in (found.rows[0] if found.rows else {}).items():
            self.values[f"{name}_{column}"] = value


@dataclass(frozen=True, slots=True)
class Explored:
    """How many interleavings were run, and in how many of them somebody waited."""

    interleavings: int
    waited: int


class Broken(AssertionError):
    """An interleaving that ends badly."""


def explore(spec: Spec, connect: Callable[[], Db]) -> Explored:
    """
    Run all interleavings of a spec.

    Args:
        spec: What to run, in a database where nobody else does anything.
        connect: Opens an autocommit connection.

    Raises:
        Broken: The first interleaving that ends badly, as a script.
    """
    db = connect()
    names = set(spec.sessions) | {
        step.on
        for steps in spec.sessions.values()
        for step in steps
        if isinstance(step, Step) and step.on
    }
    wires = {name: Wire(connect()) for name in sorted(names)}
    interleavings = waited = 0
    for steps in spec.variants():
        todo: list[list[str]] = [[]]
        while todo:
            prefix = todo.pop()
            for _ in range(_TRIES):
                run = _run(spec, Run(db, wires, steps, _set_up(spec, db, wires)), prefix)
                interleavings += 1
                if not run.strayed:
                    break
            waited += run.blocked > 0
            for depth in range(len(prefix), len(run.path)):
                todo += [[*run.path[:depth], other] for other in run.options[depth][1:]]
    return Explored(interleavings, waited)


def _set_up(spec: Spec, db: Db, wires: Mapping[str, Wire]) -> dict[str, Any]:
    for wire in wires.values():
        wire.reset()
    db.execute(_WIPE)
    return spec.setup(db)


def _run(spec: Spec, run: Run, prefix: Sequence[str]) -> Run:
    try:
        run.go(prefix, spec.allowed)
        spec.check(run)
        found = run.db.execute("select problem, job_id, detail from pgqueue.verify()").fetchall()
        assert found == []
    except AssertionError as exc:
        raise Broken(f"{spec.name}: {exc}\n" + "\n".join(run.script)) from exc
    return run
