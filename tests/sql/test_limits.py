"""Concurrency limits: who may run, who is parked, and what lets him out again."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    insert_many,
    report,
    row,
    sqlstate_of,
    status,
    value,
    worker,
)

if TYPE_CHECKING:
    from tests.support.sqljobs import Claimed, Db


def limit(db: Db, kind: str, name: str, **given: Any) -> None:
    """Set a limit."""
    names = "".join(f", p_{key} => %({key})s" for key in given)
    db.execute(
        f"select pgqueue.set_limit(%(kind)s, %(name)s{names})",
        {"kind": kind, "name": name, **given},
    )


def parked(db: Db) -> int:
    """How many jobs are parked."""
    found: int = value(db, "select count(*) from pgqueue.blocked where reason = 'limit'")
    return found


def test_no_more_than_max_running_of_a_type_run_at_once(db: Db) -> None:
    """The others are parked, and others yet run."""
    limit(db, "job_type", "t", max_running=2)
    insert_many(db, 5)
    other = insert(db, "other")
    by = worker(db)
    jobs = claim(db, by)

    assert [job.job_type for job in jobs] == ["t", "t", "other"]
    assert jobs[2].job_id == other
    assert parked(db) == 3
    assert claim(db, by) == []


def test_who_finishes_lets_the_next_one_run_in_order_of_arrival(db: Db) -> None:
    """One out, one in; new arrivals come after those that are parked."""
    limit(db, "job_type", "t", max_running=1)
    jobs = [insert(db) for _ in range(4)]
    by = worker(db)
    seen = []
    for _ in range(5):
        found = claim(db, by, 10)
        seen += [job.job_id for job in found]
        if len(jobs) == 4:
            jobs.append(insert(db))
        report(db, found)

    assert seen == jobs
    assert parked(db) == 0


_ENDS: dict[str, str] = {
    "completed": "select pgqueue.complete(%(id)s, %(token)s)",
    "failed": "select pgqueue.fail(%(id)s, %(token)s, null, false)",
    "retrying": "select pgqueue.fail(%(id)s, %(token)s)",
    "snoozed": "select pgqueue.snooze(%(id)s, %(token)s, '1 hour')",
    "released": "select pgqueue.release(%(id)s, %(token)s)",
    "cancelled": "select pgqueue.cancel_running(%(id)s, %(token)s)",
    "stopped": "select pgqueue.stop_worker(%(worker)s)",
    "lost": "update pgqueue.workers set heartbeat_at = '2001-01-01' where id = %(worker)s",
}


@pytest.mark.parametrize("end", list(_ENDS))
def test_every_end_of_an_attempt_frees_its_place(db: Db, end: str) -> None:
    """Also that of a worker that died."""
    limit(db, "job_type", "t", max_running=1)
    insert_many(db, 2)
    by = worker(db)
    (job,) = claim(db, by)
    db.execute(_ENDS[end], {"id": job.job_id, "token": job.token, "worker": by})
    db.execute("select pgqueue.maintain()")
    found = claim(db, worker(db))

    assert len(found) == 1
    assert value(db, "select count(*) from pgqueue.slots") == 1


def test_each_concurrency_key_counts_alone(db: Db) -> None:
    """One per customer, over all types; a job without a key is not limited."""
    limit(db, "key", "*", max_running=1)
    for key in ("a", "a", "b", "b", None, None):
        insert(db, concurrency_key=key)
    by = worker(db)
    jobs = claim(db, by)
    report(db, jobs)

    assert len(jobs) == 4
    assert len(claim(db, by)) == 2


def test_a_job_passes_all_its_gates(db: Db) -> None:
    """Type, queue and key; the narrowest decides."""
    limit(db, "job_type", "t", max_running=3)
    limit(db, "queue", "default", max_running=4)
    limit(db, "key", "t", max_running=1)
    for _ in range(4):
        insert(db, concurrency_key="k")
    for _ in range(4):
        insert(db)
    for _ in range(4):
        insert(db, "u")
    by = worker(db)
    seen = []
    for _ in range(12):
        jobs = claim(db, by)
        keys = column(
            db,
            "select concurrency_key from pgqueue.running r join pgqueue.jobs j on j.id = r.job_id",
        )
        seen.append((len(jobs), keys.count("k")))
        assert sum(job.job_type == "t" for job in jobs) <= 3
        report(db, jobs)

    assert sum(n for n, _ in seen) == 12
    assert max(n for n, _ in seen) == 4
    assert max(k for _, k in seen) == 1


def test_a_tenants_own_limit_comes_before_that_of_all(db: Db) -> None:
    """'*' is each tenant alone; without a tenant nothing counts."""
    limit(db, "tenant", "*", max_running=1)
    limit(db, "tenant", "big", max_running=3)
    for tenant in ("big", "a", "b", None):
        for _ in range(4):
            insert(db, tenant_id=tenant)
    jobs = claim(db, worker(db))
    tenants = [job.tenant_id for job in jobs]

    assert {t: tenants.count(t) for t in ("big", "a", "b", None)} == {
        "big": 3,
        "a": 1,
        "b": 1,
        None: 4,
    }


@pytest.mark.parametrize("tenant", ["acme", 'Über "a":b'])
@pytest.mark.parametrize("declared", [False, True])
def test_a_tenant_that_gets_its_own_limit_leaves_that_of_all(
    db: Db, tenant: str, *, declared: bool
) -> None:
    """What was parked under '*' passes the new limit, whose ends open nothing of the old one."""
    limit(db, "tenant", "*", max_running=1)
    for _ in range(10):
        insert(db, tenant_id=tenant)
    by = worker(db)
    (first,) = claim(db, by)
    if declared:
        own = [{"kind": "tenant", "name": tenant, "max_running": 5}]
        db.execute("select pgqueue.register_limits(%s)", (json.dumps(own),))
    else:
        limit(db, "tenant", tenant, max_running=5)
    started = []
    for _ in range(4):
        jobs = claim(db, by)
        started.append(len(jobs))
        report(db, jobs)
    report(db, [first])
    jobs = claim(db, by)

    assert started == [4, 4, 1, 0]
    assert (jobs, parked(db)) == ([], 0)
    assert column(db, "select problem from pgqueue.verify()") == []


def test_a_limit_holds_for_jobs_that_wait_or_run_already(db: Db) -> None:
    """What runs counts, what waits is limited."""
    insert_many(db, 5)
    by = worker(db)
    running = claim(db, by, 2)
    limit(db, "job_type", "t", max_running=3)

    assert len(claim(db, by)) == 1
    report(db, running)
    assert len(claim(db, by)) == 2


def test_a_dropped_limit_lets_all_out(db: Db) -> None:
    """And claims go back to the plain statement."""
    limit(db, "job_type", "t", max_running=1)
    insert_many(db, 3)
    by = worker(db)
    jobs = claim(db, by)
    db.execute("select pgqueue.drop_limit('job_type', 't')")
    jobs += claim(db, by)
    report(db, jobs)
    claim(db, by)
    db.execute("select pgqueue.maintain()")

    assert len(jobs) == 3
    assert value(db, "select limited from pgqueue.settings") is False


def test_a_raised_limit_lets_more_in(db: Db) -> None:
    """At once, with the next claim."""
    limit(db, "job_type", "t", max_running=1)
    insert_many(db, 5)
    by = worker(db)
    first = claim(db, by)
    limit(db, "job_type", "t", max_running=3)

    assert (len(first), len(claim(db, by))) == (1, 2)


@pytest.mark.parametrize("what", ["cancel", "purge", "expire", "reschedule", "replace"])
def test_a_let_out_job_that_goes_away_makes_room(db: Db, what: str) -> None:
    """The opening was spent on it: the one behind it must not wait for ever."""
    limit(db, "job_type", "t", max_running=1)
    insert(db)
    first = insert(db, unique_key="u", queue="elsewhere")
    insert(db, queue="elsewhere")
    here, there = worker(db), worker(db, ["elsewhere"])
    (running,) = claim(db, here)
    claim(db, there, queues=["elsewhere"])
    report(db, [running])
    claim(db, here)  # lets out first, which it cannot claim
    assert status(db, first) == "queued"
    match what:
        case "cancel":
            db.execute("select pgqueue.cancel(%s)", (first,))
        case "purge":
            db.execute("select pgqueue.purge_queue('elsewhere', 1)")
        case "expire":
            db.execute("update pgqueue.ready set expires_at = '2001-01-01'")
            db.execute("update pgqueue.jobs set expires_at = '2001-01-01' where id = %s", (first,))
            db.execute("select pgqueue.expire()")
        case "reschedule":
            db.execute("select pgqueue.reschedule(%s, '2100-01-01')", (first,))
        case "replace":
            db.execute(
                "select pgqueue.enqueue('t', p_queue => 'elsewhere', p_unique_key => 'u',"
                " p_run_at => '2100-01-01', p_on_duplicate => 'debounce')"
            )

    assert len(claim(db, there, queues=["elsewhere"])) == 1


def test_a_parked_job_can_be_cancelled_moved_and_expires(db: Db) -> None:
    """As any other that waits."""
    limit(db, "job_type", "t", max_running=1)
    jobs = [insert(db) for _ in range(5)]
    by = worker(db)
    claim(db, by)
    db.execute("select pgqueue.cancel(%s)", (jobs[1],))
    db.execute("select pgqueue.reprioritise(%s, 0)", (jobs[4],))
    db.execute("select pgqueue.reschedule(%s, '2100-01-01')", (jobs[2],))
    db.execute("update pgqueue.jobs set expires_at = '2001-01-01' where id = %s", (jobs[3],))
    db.execute("select pgqueue.expire()")

    assert [status(db, job) for job in jobs] == [
        "running",
        "cancelled",
        "scheduled",
        "cancelled",
        "queued",
    ]


def test_a_paused_head_does_not_hold_up_those_of_other_types(db: Db) -> None:
    """Of each queue and type one is let out."""
    limit(db, "queue", "default", max_running=1)
    insert(db, "a")
    insert(db, "b")
    insert(db, "c")
    by = worker(db)
    (running,) = claim(db, by)
    db.execute("select pgqueue.pause_job_type('b')")
    report(db, [running])
    (job,) = claim(db, by)

    assert job.job_type == "c"


def test_claiming_one_job_by_id_passes_a_full_gate_and_counts(db: Db) -> None:
    """An operator's word."""
    limit(db, "job_type", "t", max_running=1)
    jobs = [insert(db) for _ in range(3)]
    by = worker(db)
    db.execute("select pgqueue.claim_job(%s, %s)", (by, jobs[0]))
    db.execute("select pgqueue.claim_job(%s, %s)", (by, jobs[1]))

    assert claim(db, by) == []
    assert value(db, "select running from pgqueue.limit_status") == 2


def test_a_million_parked_jobs_do_not_hide_what_is_behind_them(db: Db) -> None:
    """A claim parks a bounded number, rings, and the next one goes on."""
    limit(db, "job_type", "t", max_running=1)
    insert_many(db, 5_000)
    behind = insert(db, "other")
    by = worker(db)
    found: list[Claimed] = []
    for _ in range(4):
        found += claim(db, by, 10)

    assert behind in [job.job_id for job in found]
    assert parked(db) == 4_999


def test_what_makes_no_sense_is_refused(db: Db) -> None:
    """By named constraints."""
    found = [
        sqlstate_of(db, "select pgqueue.set_limit('job_type', 't')"),
        sqlstate_of(db, "select pgqueue.set_limit('colour', 't', 1)"),
        sqlstate_of(db, "select pgqueue.set_limit('queue', '*', 1)"),
        sqlstate_of(db, "select pgqueue.set_limit('queue', 'q', 0)"),
        sqlstate_of(db, "select pgqueue.set_limit('queue', 'q', p_rate_jobs => 1)"),
    ]

    assert found == ["23514"] * 5


def test_the_status_and_why_say_what_holds(db: Db) -> None:
    """Which limit, how full it is."""
    limit(db, "key", "t", max_running=1)
    insert(db, concurrency_key="k")
    second = insert(db, concurrency_key="k")
    by = worker(db)
    claim(db, by)
    words = value(db, "select pgqueue.why_waiting(%s)", second)
    found = row(db, "select kind, name, running, parked, parked_gates from pgqueue.limit_status")

    assert words == "blocked by the limit of key t: 1 of 1 running"
    assert found == ("key", "t", 1, 1, 1)
    assert status(db, second) == "blocked"


def test_each_change_is_looked_at_again_a_second_after_it_was_seen(db: Db) -> None:
    """A claim in flight may park under what it saw, however long the change itself took."""
    later = "select count(*) from pgqueue.openings where gate ~ '^-[0-9]+:$' and opens_at > %s"
    counts = []
    for most in (3, 2, 1):
        db.execute("select pgqueue.set_limit('queue', 'default', %s)", (most,))
        seen_at = value(db, "select clock_timestamp()")
        db.execute("select pgqueue.maintain()")
        counts.append(value(db, later, seen_at + dt.timedelta(seconds=1)))

    assert counts == [0, 1, 1]


def test_a_description_alone_can_be_changed(db: Db) -> None:
    """What the operator writes is what the view shows; leaving it out leaves it."""
    for words in ("old", "new", None):
        db.execute("select pgqueue.set_limit('queue', 'q', 5, p_description => %s)", (words,))

    assert value(db, "select description from pgqueue.limits where name = 'q'") == "new"
