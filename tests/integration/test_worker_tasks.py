"""Handlers share tasks without noticing: what asyncio promises to a task holds in each run."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import JobContext, Registry
from pgqueue.worker import runners
from pgqueue.worker.runners import Runners
from tests.support.workers import enqueue, reaches, work_off, working

if TYPE_CHECKING:
    import psycopg

    Database = psycopg.Connection[Any]

mark: ContextVar[str] = ContextVar("mark", default="nobody")


def several(db: Database, job_type: str, count: int) -> None:
    """Insert *count* jobs at once."""
    db.execute(
        "insert into pgqueue.jobs (job_type, payload) select %s, jsonb_build_object('n', n)"
        " from generate_series(1, %s) n",
        (job_type, count),
    )


def endings(db: Database) -> Counter[str]:
    """How many jobs have ended how."""
    return Counter(row[0] for row in db.execute("select status from pgqueue.finished"))


def test_handlers_that_never_wait_share_a_few_tasks(dsn: str, db: Database) -> None:
    """2,000 jobs need at most 20 tasks: one per slice of time or batch, not one per job."""
    registry, used = Registry(), set()

    @registry.job
    async def instant(n: int) -> None:
        used.add(asyncio.current_task())

    several(db, "instant", 2_000)
    work_off(registry, dsn, concurrency=200)

    assert endings(db) == {"succeeded": 2_000}
    assert 1 <= len(used) <= 20


@pytest.mark.parametrize("waits", [False, True])
def test_what_a_job_puts_into_a_context_variable_no_other_job_sees(
    dsn: str, db: Database, *, waits: bool
) -> None:
    """Nor does it lose it while it waits."""
    registry = Registry()
    before, after = Counter[str](), Counter[bool]()

    @registry.job
    async def marks(n: int) -> None:
        before[mark.get()] += 1
        mark.set(str(n))
        if waits:
            await asyncio.sleep(0)
        after[mark.get() == str(n)] += 1

    several(db, "marks", 300)
    work_off(registry, dsn, concurrency=100)

    assert (before, after) == ({"nobody": 300}, {True: 300})


def test_a_handler_is_in_one_task_from_its_beginning_to_its_end(dsn: str, db: Database) -> None:
    """asyncio.current_task() stays the same, and no other unfinished handler has it."""
    registry, busy = Registry(), set()
    seen = Counter[str]()

    @registry.job
    async def looks(n: int) -> None:
        task = asyncio.current_task()
        seen["shared"] += task in busy
        busy.add(task)
        for _ in range(n % 4):
            await asyncio.sleep(0)
            seen["moved"] += asyncio.current_task() is not task
        busy.remove(task)
        seen["looked"] += 1

    several(db, "looks", 400)
    work_off(registry, dsn, concurrency=50)

    assert +seen == {"looked": 400}


def test_timeouts_and_task_groups_work_in_every_handler(dsn: str, db: Database) -> None:
    """Both cancel the task that they are in: neither the wrong one nor the next job on it."""
    registry = Registry()
    counts = Counter[str]()

    @registry.job
    async def times_out(n: int) -> None:
        try:
            async with asyncio.timeout(0 if n % 2 else 60):
                await asyncio.sleep(60 if n % 2 else 0)
        except TimeoutError:
            counts["timeout"] += 1

    @registry.job
    async def groups(n: int) -> None:
        async def fails() -> None:
            raise ArithmeticError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                await asyncio.sleep(60)
        except* ArithmeticError:
            counts["group"] += 1

    several(db, "times_out", 100)
    several(db, "groups", 100)
    work_off(registry, dsn, concurrency=20)

    assert endings(db) == {"succeeded": 200}
    assert counts == {"timeout": 50, "group": 100}


def test_a_handler_that_cancels_its_own_task_harms_no_other(dsn: str, db: Database) -> None:
    """It has returned before it could notice; the jobs after it wait and are not interrupted."""
    registry = Registry()

    @registry.job
    async def cancels(n: int) -> None:
        if n % 2:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        else:
            await asyncio.sleep(0)

    several(db, "cancels", 100)
    work_off(registry, dsn, concurrency=10)

    assert endings(db) == {"succeeded": 100}
    assert db.execute("select count(*) from pgqueue.attempts").fetchall() == [(0,)]


def test_as_many_handlers_wait_at_once_as_there_are_slots(dsn: str, db: Database) -> None:
    """Each of 300 waits for all of the others."""
    registry, slots = Registry(), 300
    arrived, all_there = [0], asyncio.Event()

    @registry.job
    async def meets(n: int) -> None:
        arrived[0] += 1
        if arrived[0] == slots:
            all_there.set()
        await all_there.wait()

    several(db, "meets", slots)
    work_off(registry, dsn, concurrency=slots)

    assert endings(db) == {"succeeded": slots}


def test_an_ending_between_handlers_that_wait_is_reported_at_once(dsn: str, db: Database) -> None:
    """The last one that began waits, and so does the first: nobody rests to say it."""
    registry, go = Registry(), asyncio.Event()

    @registry.job
    async def waits(ctx: JobContext) -> None:
        await go.wait()

    @registry.job
    async def instant() -> None: ...

    first, between, last = (enqueue(db, kind) for kind in ("waits", "instant", "waits"))
    with working(registry, dsn, poll_seconds=60.0) as worker:
        reaches(db, between, "succeeded", seconds=5)
        loop = worker.worker._loop
        assert loop is not None
        loop.call_soon_threadsafe(go.set)
        reaches(db, first, "succeeded")
        reaches(db, last, "succeeded")


def test_handlers_that_never_wait_let_the_loop_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """When their slice of time is over the heartbeat and the rest of the worker have their turn."""
    monkeypatch.setattr(runners, "SLICE_SECONDS", -1.0)
    turns: list[str] = []

    class Run:
        task = None

        def __init__(self, name: str) -> None:
            self.name = name

    async def main() -> None:
        done = asyncio.Event()

        def turn() -> None:
            turns.append("loop")
            if turns.count("loop") == 3:
                done.set()

        async def perform(run: Any) -> None:
            turns.append(run.name)
            asyncio.get_running_loop().call_soon(turn)

        pool = Runners(perform, rested=lambda: None)
        for name in "abc":
            pool.start(Run(name))  # type: ignore[arg-type]  # all that a runner needs
        async with asyncio.timeout(20):
            await done.wait()
        pool.close()

    asyncio.run(main())

    assert [turn for turn in turns if turn != "loop"] == ["a", "b", "c"]
    assert turns.index("loop") < turns.index("c")
