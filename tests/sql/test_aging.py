"""Aging: who has waited long enough is claimed with a higher priority."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import claim, column, insert, insert_many, row, value, worker

if TYPE_CHECKING:
    from uuid import UUID

    from tests.conftest import Connect
    from tests.support.sqljobs import Db


def _waited(db: Db, job_id: UUID, seconds: float) -> UUID:
    """Let a job have been ready for so long."""
    db.execute(
        """update pgqueue.ready set ready_at = clock_timestamp() - make_interval(secs => %s)
           where job_id = %s""",
        (seconds, job_id),
    )
    return job_id


def _age(db: Db, limit: int = 1000) -> int:
    return int(value(db, "select pgqueue.age_waiting(%s)", limit))


def _priority(db: Db, job_id: UUID) -> int:
    return int(value(db, "select priority from pgqueue.ready where job_id = %s", job_id))


@pytest.fixture
def aging(db: Db) -> Db:
    """A database where ten minutes of waiting count for one priority."""
    db.execute("select pgqueue.set_settings(p_aging => '10 minutes')")
    return db


def test_nobody_ages_unless_it_is_asked_for(db: Db) -> None:
    """Off by default: a job that has waited for a year keeps its priority."""
    job = _waited(db, insert(db, priority=2), 365 * 86_400)

    assert (_age(db), _priority(db, job)) == (0, 2)


@pytest.mark.parametrize(
    ("waited", "priority"), [(599, 3), (601, 2), (1_201, 1), (1_801, 0), (99_999, 0)]
)
def test_each_interval_counts_for_one_priority(aging: Db, waited: float, priority: int) -> None:
    """From 3 up to 0 and no further; what was asked stays in jobs."""
    job = _waited(aging, insert(aging, priority=3), waited)
    moved = _age(aging)

    assert (_priority(aging, job), moved) == (priority, int(priority < 3))
    assert value(aging, "select priority from pgqueue.jobs where id = %s", job) == 3
    assert _age(aging) == 0


def test_a_job_of_low_priority_is_not_starved(aging: Db) -> None:
    """It comes before the jobs of the higher priority that arrived after it."""
    by = worker(aging)
    low = _waited(aging, insert(aging, priority=2), 601)
    insert_many(aging, 5)
    aging.execute("select pgqueue.maintain()")

    assert [job.job_id for job in claim(aging, by, 1)] == [low]


def test_what_it_carries_comes_along(aging: Db) -> None:
    """Key, expiry, attempts, position: only the lane is another."""
    job = insert(aging, priority=2, unique_key="k", expires_at="2100-01-01")
    _waited(aging, job, 601)
    columns = "pos, ready_at, expires_at, attempts, flags, queue, job_type"
    before = row(aging, f"select {columns} from pgqueue.ready where job_id = %s", job)
    _age(aging)

    assert row(aging, f"select {columns} from pgqueue.ready where job_id = %s", job) == before


def test_it_looks_at_so_many_of_each_lane(aging: Db) -> None:
    """Cost is bounded however many wait; the oldest come first."""
    jobs = [insert(aging, priority=2) for _ in range(5)]
    aging.execute("update pgqueue.ready set ready_at = ready_at - interval '601 seconds'")
    moved = [_age(aging, 2), _age(aging, 2), _age(aging, 2), _age(aging, 2)]

    assert moved == [2, 2, 1, 0]
    assert column(aging, "select job_id from pgqueue.ready order by pos") == jobs


def test_a_job_that_is_being_claimed_is_passed_over(aging: Db, connect: Connect) -> None:
    """Neither waits for the other, and the job is claimed once."""
    job = _waited(aging, insert(aging, priority=2), 601)
    other = connect(autocommit=False)
    by = worker(aging)
    claimed = claim(other, by)
    moved = _age(aging)
    other.commit()

    assert ([one.job_id for one in claimed], moved) == ([job], 0)
    assert value(aging, "select count(*) from pgqueue.ready") == 0
