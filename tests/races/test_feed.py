"""Many finish, many read one feed: every completion is acknowledged once, none is lost."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import claim, column, report, value, worker
from tests.support.wait import eventually

if TYPE_CHECKING:
    from uuid import UUID

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_JOBS = 600
_BATCH = 20
_READERS = 4
_SECONDS = 60


@pytest.mark.parametrize("crashing", [False, True], ids=["calm", "crashing"])
def test_readers_and_finishers_side_by_side(connect: Connect, db: Db, *, crashing: bool) -> None:
    """Finishers commit late and in any order; crashing readers roll back a third of the time."""
    db.execute(
        "insert into pgqueue.jobs (job_type, feed) select 't', 'f' from generate_series(1, %s)",
        (_JOBS,),
    )
    db.execute("create table seen (job_id uuid)")
    wanted = set(column(db, "select id from pgqueue.jobs"))
    failures: list[BaseException] = []
    left = threading.Event()

    def finish(conn: Db) -> None:
        by = worker(conn)
        conn.autocommit = False
        while jobs := claim(conn, by, _BATCH):
            report(conn, jobs)
            conn.commit()
        conn.rollback()

    def read(conn: Db, dice: random.Random) -> None:
        while not left.is_set():
            taken = conn.execute(
                "select completion_id, job_id from pgqueue.take_completions('f', 7)"
            ).fetchall()
            conn.cursor().executemany(
                "insert into seen values (%s)", [(job_id,) for _, job_id in taken]
            )
            conn.execute(
                "select pgqueue.ack_completions('f', %s)", ([number for number, _ in taken],)
            )
            if crashing and dice.random() < 1 / 3:
                conn.rollback()
            else:
                conn.commit()

    def guarded(work: object, *arguments: object) -> None:
        try:
            work(*arguments)  # type: ignore[operator]
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=guarded, args=(finish, connect())) for _ in range(3)]
    dice = [random.Random(seed) for seed in range(_READERS)]  # noqa: S311  # not a secret
    threads += [
        threading.Thread(target=guarded, args=(read, connect(autocommit=False), each))
        for each in dice
    ]
    for thread in threads:
        thread.start()
    try:
        eventually(
            lambda: failures or value(db, "select count(*) from seen") >= _JOBS,
            seconds=_SECONDS,
            what="all completions are read",
        )
    finally:
        left.set()
        for thread in threads:
            thread.join(_SECONDS)
    seen: list[UUID] = column(db, "select job_id from seen")

    assert failures == []
    assert len(seen) == _JOBS
    assert set(seen) == wanted
    assert value(db, "select count(*) from pgqueue.completions") == 0


def test_two_readers_that_acknowledge_the_same_rows_do_not_deadlock(
    connect: Connect, db: Db
) -> None:
    """In whatever order they name them: the rows are locked in the order of their numbers."""
    db.execute(
        "insert into pgqueue.jobs (job_type, feed) select 't', 'f' from generate_series(1, 200)"
    )
    report(db, claim(db, worker(db), 1000))
    numbers = column(db, "select id from pgqueue.completions order by id")
    counts: list[int] = []
    failures: list[BaseException] = []

    def acknowledge(order: list[int]) -> None:
        try:
            counts.append(value(connect(), "select pgqueue.ack_completions('f', %s)", order))
        except BaseException as exc:
            failures.append(exc)

    threads = [
        threading.Thread(target=acknowledge, args=(numbers[::step],)) for step in (1, -1, 1, -1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_SECONDS)

    assert failures == []
    assert sum(counts) == len(numbers)
