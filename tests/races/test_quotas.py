"""Quotas while several transactions of one tenant insert at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.support.sqljobs import claim, insert, refused, report, sqlstate_of, value, worker

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Db


def test_open_transactions_do_not_see_each_other_and_that_is_all(open_session: Open) -> None:
    """Five of three jobs each, with a quota of ten: all commit; nothing more is let in after."""
    db = open_session()
    db.execute("select pgqueue.set_tenant_quota('a', 10)")
    opened = [open_session.transaction() for _ in range(5)]
    for one in opened:
        for _ in range(3):
            insert(one, tenant_id="a")
    for one in opened:
        one.commit()
    with refused("PQ008"):
        insert(db, tenant_id="a")

    assert value(db, "select count(*) from pgqueue.ready") == 15


def test_what_commits_below_the_last_count_is_counted_by_the_next(open_session: Open) -> None:
    """Its rows have lower numbers than some that were counted."""
    db, late = open_session(), open_session.transaction()
    db.execute("select pgqueue.set_tenant_quota('a', 10)")
    for _ in range(5):
        insert(late, tenant_id="a")
    for _ in range(5):
        insert(db, tenant_id="a")
    db.execute("select pgqueue.count_tenants()")
    late.commit()
    db.execute("update pgqueue.tenant_counts set cost = '0'")
    db.execute("select pgqueue.count_tenants()")
    with refused("PQ008"):
        insert(db, tenant_id="a")

    assert value(db, "select waiting from pgqueue.tenant_counts") == 10


ENABLED = """select coalesce(array_agg(tgname::text order by tgname), '{}') from pg_trigger
    where tgname ~ '^jobs_tenant_quota' and tgenabled <> 'D'"""


def test_the_last_quota_goes_while_another_comes(open_session: Open, sessions: Sessions) -> None:
    """The second call waits for the first, and finds that the triggers are off."""
    db, first = open_session(), open_session.transaction()
    db.execute("select pgqueue.set_tenant_quota('a', 10)")
    first.execute("select pgqueue.set_tenant_quota('a')")
    second = sessions.start(open_session(), "select pgqueue.set_tenant_quota('b', 0)").blocked()
    first.commit()
    second.rows()
    with refused("PQ008"):
        insert(db, tenant_id="b")

    assert value(db, ENABLED) == ["jobs_tenant_quota", "jobs_tenant_quota_updated"]


def test_the_quota_of_nobody_comes_with_another_and_none_counts_twice(
    open_session: Open, sessions: Sessions
) -> None:
    """One of the two triggers is enabled: both wrote each job down."""
    db, first = open_session(), open_session.transaction()
    first.execute("select pgqueue.set_tenant_quota('a', 10)")
    second = sessions.start(open_session(), "select pgqueue.set_tenant_quota('', 10)").blocked()
    first.commit()
    second.rows()
    insert(db, tenant_id="a")

    assert value(db, ENABLED) == ["jobs_tenant_quota_all", "jobs_tenant_quota_updated"]
    assert value(db, "select count(*) from pgqueue.tenant_jobs") == 1


def _fill(db: Db, count: int) -> int:
    return sum(
        sqlstate_of(db, "insert into pgqueue.jobs (job_type, tenant_id) values ('t', 'a')") is None
        for _ in range(count)
    )


def _work(db: Db, rounds: int) -> int:
    by, done = worker(db), 0
    for _ in range(rounds):
        jobs = claim(db, by, 3)
        report(db, jobs)
        db.execute("select * from pgqueue.maintain()")
        done += len(jobs)
    return done


def test_producers_workers_and_maintenance_at_once_stay_within_the_quota(
    open_session: Open, sessions: Sessions
) -> None:
    """Six producers, two workers: nobody waits for another, and it is overshot by six at most."""
    db = open_session()
    db.execute("select pgqueue.set_tenant_quota('a', 20)")
    counts = sessions.together(
        [
            *[partial(_fill, open_session(), 100) for _ in range(6)],
            *[partial(_work, open_session(), 10) for _ in range(2)],
        ]
    )
    counts[0] += _fill(db, 40)  # the workers may have been faster
    waiting = sum(counts[:6]) - sum(counts[6:])

    assert 20 <= waiting <= 20 + 6
    assert value(db, "select count(*) from pgqueue.ready") == waiting
