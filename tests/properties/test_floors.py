"""A job committed below everybody's floor is found, in whatever order transactions end."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgqueue.worker.floors import Floors
from tests.support.sqljobs import claim, insert, worker

if TYPE_CHECKING:
    from uuid import UUID

    from pgqueue.calls import Claimed

_PRODUCERS = 3
_Step = tuple[str, int, int]
_steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["insert", "insert", "commit", "roll back", "claim", "hold", "let go", "mark"]
        ),
        st.integers(0, _PRODUCERS - 1),
        st.integers(0, 3),
    ),
    min_size=5,
    max_size=30,
)
_how = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


class _Queue:
    """Producers with open transactions, a worker with floors, another whose claims roll back."""

    def __init__(self, opened: ExitStack, dsn: str, *, sweeps: bool) -> None:
        self.here, self.other, *self.producers = (
            opened.enter_context(psycopg.connect(dsn, autocommit=n == 0))
            for n in range(_PRODUCERS + 2)
        )
        self.by = worker(self.here)
        self.floors, self.sweeps = Floors(["default"]), sweeps
        self.pending: list[list[UUID]] = [[] for _ in self.producers]
        self.committed: list[UUID] = []
        self.claimed: list[UUID] = []

    def step(self, what: str, n: int, number: int) -> None:
        """One thing happens."""
        match what:
            case "insert":
                job_id = insert(self.producers[n], priority=number, tenant_id=f"t{n}")
                self.pending[n].append(job_id)
            case "commit":
                self.producers[n].commit()
                self.committed += self.pending[n]
                self.pending[n] = []
            case "roll back":
                self.producers[n].rollback()
                self.pending[n] = []
            case "claim":
                self.claim(number + 1)
            case "hold":
                claim(self.other, self.by, number + 1)
            case "mark":
                self.here.execute("select pgqueue.mark_lanes()")
            case _:
                self.other.rollback()

    def claim(self, limit: int) -> bool:
        """As a worker does: from its floors, and without them when that comes back short."""
        got = claim(self.here, self.by, limit, floors=self.floors.array())
        if len(got) < limit and self.sweeps:
            got += claim(self.here, self.by, limit)
        self.floors.saw(cast("list[Claimed]", got))  # the same fields, less decoding
        self.claimed += [job.job_id for job in got]
        return bool(got)

    def drain(self) -> None:
        """Every transaction ends; the worker goes on until it finds nothing."""
        self.other.rollback()
        for n in range(_PRODUCERS):
            self.step("commit", n, 0)
        while self.claim(2):
            pass


def _check(dsn: str, steps: list[_Step], *, sweeps: bool) -> None:
    with ExitStack() as opened:
        queue = _Queue(opened, dsn, sweeps=sweeps)
        for one in steps:
            queue.step(*one)
        queue.drain()
        left = queue.here.execute("delete from pgqueue.ready returning job_id").fetchall()
        queue.here.execute(
            "delete from pgqueue.jobs j where j.id = any (%s)", ([r[0] for r in left],)
        )

        assert sorted(queue.claimed) == sorted(queue.committed)


def test_floors_lose_no_late_commit(dsn: str) -> None:
    """Each committed job is claimed once, however late it came and whatever was rolled back."""

    @_how
    @given(steps=_steps)
    def whatever_happens(steps: list[_Step]) -> None:
        _check(dsn, steps, sweeps=True)

    whatever_happens()


def test_floors_lose_no_late_commit_of_a_fair_queue(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor with positions that are not drawn in order, and floors that rise at once."""
    monkeypatch.setattr("pgqueue.worker.floors.FAIR_LAG_FULL_SECONDS", -1.0)
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("select pgqueue.set_fairness('default')")

    @_how
    @given(steps=_steps)
    def whatever_happens(steps: list[_Step]) -> None:
        _check(dsn, steps, sweeps=True)

    whatever_happens()


def test_floors_without_the_sweep_lose_one(dsn: str) -> None:
    """The property bites: what commits below the floor stays lying without claims from nothing."""
    steps = [
        ("insert", 0, 1),
        ("insert", 1, 1),
        ("commit", 1, 0),
        ("claim", 0, 0),
        ("commit", 0, 0),
    ]

    _check(dsn, steps, sweeps=True)
    with pytest.raises(AssertionError):
        _check(dsn, steps, sweeps=False)
