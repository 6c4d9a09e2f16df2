"""
No wake-up is lost, and no herd is woken: workers that follow the protocol and never poll.

A job that nobody is woken for stays where it is until the next ring. So each round ends only when
every job of it is done; a lost wake-up stops the round until its deadline.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.races.sessions import SECONDS
from tests.support.sqljobs import claim, insert, report, value, worker
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Db

_ROUND_SECONDS = 10.0
_IN_FLIGHT_SECONDS = 0.005  # how often to look again while an inserter's transaction is open


@dataclass(slots=True)
class Sleeper:
    """A worker with room for one job, so that every job fills it and the door is passed on."""

    listener: Db
    db: Db
    worker_id: int
    queues: list[str]
    delay: float = 0.0
    claims: int = 0
    asleep: bool = False
    done: list[UUID] = field(default_factory=list)

    def run(self, finished: threading.Event) -> None:
        """Work, lie down, sleep, get up, until told to stop."""
        while not finished.is_set():
            if self._work():
                continue
            found = self.listener.execute(
                "select queue_hash, place from pgqueue.rest(%s)", (self.queues,)
            )
            places = dict(found.fetchall())
            self._hesitate()
            if -1 in places.values():
                list(self.listener.notifies(timeout=_IN_FLIGHT_SECONDS, stop_after=1))
            elif 0 in places.values() and self._work():
                continue
            else:
                self._sleep(places)
            self.listener.execute("select pgqueue.leave(%s)", (self.queues,))

    def _work(self) -> bool:
        """Claim one job; having one, pass the door on before doing it."""
        self.claims += 1
        batch = claim(self.db, self.worker_id, 1, queues=self.queues)
        if batch:
            self.listener.execute("select pgqueue.leave(%s, true)", (self.queues,))
            report(self.db, batch)
            self.done += [job.job_id for job in batch]
        return bool(batch)

    def _sleep(self, places: dict[int, int]) -> None:
        self.asleep = True
        for heard in self.listener.notifies(timeout=2 * SECONDS):
            match heard.payload.split():
                case ["stop"] | ["ring", "*"]:
                    break
                case ["ring", which] if places.get(int(which)) == 0:
                    break
                case ["seat", which, seat] if places.get(int(which)) == int(seat):
                    break
                case _:
                    pass
        self.asleep = False

    def _hesitate(self) -> None:
        """The moment between taking the lock and the last claim, made long."""
        if self.delay:
            self.db.execute("select pg_sleep(random() * %s)", (self.delay,))


@contextmanager
def _crew(
    open_session: Open, sessions: Sessions, size: int, queues: list[str], delay: float = 0.0
) -> Iterator[list[Sleeper]]:
    db = open_session()
    finished = threading.Event()
    crew = []
    for _ in range(size):
        listener = open_session()
        listener.execute("listen pgqueue")
        crew.append(Sleeper(listener, open_session(), worker(db, queues), queues, delay))
    futures = [sessions.submit(partial(one.run, finished)) for one in crew]
    try:
        yield crew
    finally:
        finished.set()
        db.execute("notify pgqueue, 'stop'")
        for future in futures:
            future.result(SECONDS)


def _all_done(crew: list[Sleeper], wanted: int) -> bool:
    return sum(len(one.done) for one in crew) >= wanted


@pytest.mark.parametrize(
    ("size", "commit_delay", "claim_delay", "rounds"),
    [(1, 0.01, 0.0, 40), (3, 0.01, 0.01, 25), (8, 0.0, 0.0, 40), (8, 0.02, 0.005, 25)],
)
def test_no_wake_up_is_lost(
    open_session: Open,
    sessions: Sessions,
    size: int,
    commit_delay: float,
    claim_delay: float,
    rounds: int,
) -> None:
    """Delays between trigger and commit, and between the lock and the last claim; nobody polls."""
    queues = ["a", "b"]
    seed = random.randrange(2**32)  # noqa: S311
    producers = [open_session.transaction() for _ in range(5)]

    def produce(conn: Db, draw: random.Random) -> None:
        insert(conn, queue=draw.choice(queues))
        if commit_delay:
            conn.execute("select pg_sleep(%s)", (draw.random() * commit_delay,))
        conn.commit()

    with _crew(open_session, sessions, size, queues, claim_delay) as crew:
        for n in range(rounds):
            sessions.together(
                [
                    partial(produce, conn, random.Random(f"{seed} {n} {i}"))  # noqa: S311
                    for i, conn in enumerate(producers)
                ]
            )
            eventually(
                partial(_all_done, crew, 5 * (n + 1)),
                seconds=_ROUND_SECONDS,
                what=f"round {n} is done; seed {seed}, {size} workers",
            )
    done = [job_id for one in crew for job_id in one.done]

    assert len(done) == len(set(done)) == 5 * rounds


def test_one_job_does_not_wake_a_herd(open_session: Open, sessions: Sessions) -> None:
    """Sixteen idle workers, one job at a time: a handful of claims per job, not sixteen."""
    db = open_session()
    jobs = 20
    with _crew(open_session, sessions, 16, ["default"]) as crew:
        eventually(lambda: all(one.asleep for one in crew), what="everybody sleeps")
        before = sum(one.claims for one in crew)
        for n in range(jobs):
            insert(db)
            eventually(partial(_all_done, crew, n + 1), what=f"job {n} is done")
            eventually(lambda: all(one.asleep for one in crew), what="everybody sleeps again")
        claims = sum(one.claims for one in crew) - before

    assert claims / jobs < 8


def test_work_reaches_as_many_workers_as_there_are_jobs(
    open_session: Open, sessions: Sessions
) -> None:
    """One insert of many jobs rings once; the door is passed on until everybody is busy."""
    db = open_session()
    with _crew(open_session, sessions, 6, ["default"]) as crew:
        eventually(lambda: all(one.asleep for one in crew), what="everybody sleeps")
        db.execute("insert into pgqueue.jobs (job_type) select 't' from generate_series(1, 600)")
        eventually(lambda: _all_done(crew, 600), what="all jobs are done")
        shares = [len(one.done) for one in crew]

    assert sum(shares) == 600
    assert len([share for share in shares if share]) > 3
    assert value(db, "select count(*) from pgqueue.ready") == 0
