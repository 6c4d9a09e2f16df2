"""Rate limits: token buckets on the database's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.sql.test_limits import limit, parked
from tests.support.sqljobs import claim, insert, insert_many, report, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Claimed, Db


def _pass(db: Db, seconds: float) -> None:
    """Move what is written down, as if *seconds* had passed."""
    db.execute(
        "update pgqueue.gate_buckets set full_at = full_at - make_interval(secs => %s)", (seconds,)
    )
    db.execute(
        "update pgqueue.openings set opens_at = opens_at - make_interval(secs => %(s)s),"
        " made_at = made_at - make_interval(secs => %(s)s)",
        {"s": seconds},
    )


def test_a_burst_starts_at_once_and_then_one_per_step(db: Db) -> None:
    """Three at once, then one each 100 s."""
    limit(db, "job_type", "t", rate_jobs=36, rate_interval="1 hour", rate_burst=3)
    insert_many(db, 10)
    by = worker(db)
    found = [len(claim(db, by))]
    for seconds in (50, 50, 99, 2, 250):
        _pass(db, seconds)
        found.append(len(claim(db, by)))

    assert found == [3, 0, 1, 0, 1, 2]


def test_a_rate_of_one_at_once_never_exceeds_it_in_any_window(db: Db) -> None:
    """By started_at, which is the time of admission."""
    limit(db, "job_type", "t", rate_jobs=20, rate_interval="1 second", rate_burst=1)
    insert_many(db, 8)
    by = worker(db)
    jobs: list[Claimed] = []
    while len(jobs) < 8:
        found = claim(db, by)
        report(db, found)
        jobs += found
    gaps = db.execute(
        """select min(f.started_at - f.before) >= interval '50 ms',
            max(f.started_at - f.before) < interval '5 s'
        from (select started_at, lag(started_at) over (order by started_at) as before
              from pgqueue.finished) f"""
    ).fetchone()

    assert gaps == (True, True)


def test_the_default_burst_is_what_comes_in_a_fifth_of_a_second(db: Db) -> None:
    """At least one."""
    limit(db, "job_type", "fast", rate_jobs=1000, rate_interval="1 second")
    limit(db, "job_type", "slow", rate_jobs=100, rate_interval="1 minute")
    found = db.execute("select name, rate_burst from pgqueue.limits order by name").fetchall()

    assert found == [("fast", 201), ("slow", 1)]


@pytest.mark.parametrize(
    ("jobs", "interval", "constraint"),
    [
        (10, "0 s", "limits_rate_interval_check"),
        (10, "-1 s", "limits_rate_interval_check"),
        (10, "31 days", "limits_rate_interval_check"),
        (10, None, "limits_rate_together_check"),
        (0, "1 s", "limits_rate_jobs_check"),
        (1_000_001, "1 s", "limits_rate_jobs_check"),
    ],
)
def test_a_bad_rate_is_refused_by_the_name_of_what_is_bad(
    db: Db, jobs: int | None, interval: str | None, constraint: str
) -> None:
    """Not by a division by zero on the way there."""
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        limit(db, "queue", "q", rate_jobs=jobs, rate_interval=interval)

    assert refusal.value.diag.constraint_name == constraint


def test_the_default_burst_stays_within_what_a_burst_may_be(db: Db) -> None:
    """A fifth of a second of a million in 100 ms is more than that."""
    limit(db, "queue", "q", rate_jobs=1_000_000, rate_interval="100 ms")

    assert value(db, "select rate_burst from pgqueue.limits") == 1_000_000


def test_maintenance_says_when_the_next_token_comes(db: Db) -> None:
    """So that workers sleep until then."""
    limit(db, "job_type", "t", rate_jobs=1, rate_interval="1 hour")
    insert_many(db, 3)
    claim(db, worker(db))
    found = value(
        db,
        "select next_due_at - clock_timestamp() between interval '59 min' and interval '60 min'"
        " from pgqueue.maintain()",
    )
    _pass(db, 3601)
    value(db, "select promoted from pgqueue.maintain()")

    assert found is True
    assert parked(db) == 1
    assert value(
        db, "select next_due_at > clock_timestamp() + interval '59 minutes' from pgqueue.maintain()"
    )


def test_each_tenant_and_key_has_a_bucket_of_its_own(db: Db) -> None:
    """'*' is each alone."""
    limit(db, "tenant", "*", rate_jobs=1, rate_interval="1 hour")
    limit(db, "key", "t", rate_jobs=2, rate_interval="1 hour", rate_burst=2)
    for tenant, key in (("a", "k"), ("a", "k"), ("b", "k"), (None, "k"), (None, "k"), (None, "k")):
        insert(db, tenant_id=tenant, concurrency_key=key)

    assert len(claim(db, worker(db))) == 4


@pytest.mark.parametrize("days", [1, 10_000])
def test_a_clock_that_is_set_back_stalls_nobody(db: Db, days: int) -> None:
    """All that is written down lies far in the future; a bucket's time later it runs."""
    limit(db, "job_type", "t", rate_jobs=20, rate_interval="1 second", rate_burst=1)
    insert_many(db, 3)
    by = worker(db)
    claim(db, by)
    _pass(db, -86400 * days)
    for _ in range(200):
        db.execute("select pgqueue.maintain()")
        if claim(db, by):
            break
    else:
        pytest.fail("it still waits")


def test_a_rate_and_a_limit_of_running_jobs_hold_together(db: Db) -> None:
    """A place is free, but no token; a token is there, but no place."""
    limit(db, "job_type", "t", max_running=1, rate_jobs=2, rate_interval="1 hour", rate_burst=2)
    insert_many(db, 5)
    by = worker(db)
    first = claim(db, by)
    none = claim(db, by)
    report(db, first)
    second = claim(db, by)
    report(db, second)
    no_token = claim(db, by)
    _pass(db, 1801)

    assert [len(x) for x in (first, none, second, no_token, claim(db, by))] == [1, 0, 1, 0, 1]


def test_full_buckets_are_forgotten(db: Db) -> None:
    """A key that nobody uses costs nothing."""
    limit(db, "key", "*", rate_jobs=1, rate_interval="1 second")
    for n in range(20):
        insert(db, concurrency_key=str(n))
    claim(db, worker(db))
    before = value(db, "select count(*) from pgqueue.gate_buckets")
    _pass(db, 100)
    db.execute("select pgqueue.maintain()")

    assert (before, value(db, "select count(*) from pgqueue.gate_buckets")) == (20, 0)
