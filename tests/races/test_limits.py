"""Limits under load: never too many, never out of order, nobody forgotten."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from tests.support.sqljobs import claim, column, insert_many, report, value, worker

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.races.sessions import Sessions

_JOBS = 400
_KEYS = 7
_MAX = {"type": 6, "key": 2, "order": 1}
_OUTCOMES: list[dict[str, Any]] = [
    *[{}] * 6,
    {"do": "fail", "retry_after_seconds": 0},
    {"do": "fail", "retryable": False},
    {"do": "snooze", "delay_seconds": 0.001},
    {"do": "release"},
]
# What runs at this moment under each gate; seen by a snapshot, as the server's own count is.
_RUNNING = """select max(n) from (
    select count(*) as n from pgqueue.running r join pgqueue.jobs j on j.id = r.job_id
    where {0} is not null group by {0}) x"""

_HELD = "select running from pgqueue.limit_status"


def _work(open_session: Open, seed: str, queues: list[str]) -> Counter[str]:
    """Claim, look, report at random, or die; until all has finished."""
    db = open_session()
    draw = random.Random(seed)  # noqa: S311
    by = worker(db, queues)
    seen: Counter[str] = Counter()
    while value(db, "select count(*) from pgqueue.finished") < _JOBS:
        jobs = claim(db, by, draw.randrange(1, 9), queues=queues)
        seen["type"] = max(seen["type"], value(db, _RUNNING.format("r.job_type")) or 0)
        seen["key"] = max(seen["key"], value(db, _RUNNING.format("j.concurrency_key")) or 0)
        seen["order"] = max(seen["order"], value(db, _RUNNING.format("j.ordering_key")) or 0)
        if draw.random() < 0.03:
            db.execute(
                "update pgqueue.workers set heartbeat_at = '2001-01-01' where id = %s", (by,)
            )
            by = worker(db, queues)
        if draw.random() < 0.2:
            db.execute("select pgqueue.maintain(50)")
        report(db, jobs, [draw.choice(_OUTCOMES) for _ in jobs])
        seen["jobs"] += len(jobs)
    return seen


def test_eight_workers_under_three_limits_never_exceed_one_and_forget_nobody(
    open_session: Open, sessions: Sessions
) -> None:
    """By type, by key over two queues, by ordering key; with retries, deaths and zombies."""
    seed = random.randrange(2**32)  # noqa: S311
    db = open_session()
    db.execute("select pgqueue.set_settings(p_max_attempts => 100, p_backoff_base => '1 ms')")
    db.execute("select pgqueue.set_limit('job_type', 't', %s)", (_MAX["type"],))
    db.execute("select pgqueue.set_limit('key', '*', %s)", (_MAX["key"],))
    rows = [
        {
            "job_type": "t",
            "queue": "ab"[n % 2],
            "concurrency_key": f"c{n % _KEYS}",
            "ordering_key": f"o{n % 11}" if n % 3 == 0 else None,
            "payload": {"n": n},
        }
        for n in range(_JOBS)
    ]
    db.execute("select pgqueue.enqueue_many(%s)", (json.dumps(rows),))
    queues = [["a"], ["b"], ["a", "b"], ["b", "a"]] * 2
    found = sessions.together(
        [partial(_work, open_session, f"{seed} {n}", given) for n, given in enumerate(queues)]
    )
    most = {name: max(seen[name] for seen in found) for name in _MAX}
    parked = value(db, "select count(*) from pgqueue.blocked")

    assert all(most[name] <= _MAX[name] for name in _MAX), f"seed {seed}: {most}"
    assert most["type"] > 1, f"seed {seed}: it was no race"
    assert parked == 0, f"seed {seed}"
    assert column(db, "select problem from pgqueue.verify()") == [], f"seed {seed}"


def test_a_new_limit_beside_an_open_insert_holds_up_nobody(
    open_session: Open, sessions: Sessions
) -> None:
    """The parent that the insert holds takes its place under the limit with a later maintain()."""
    db, producer = open_session(), open_session.transaction()
    insert_many(db, 2)
    by = worker(db)
    one, two = claim(db, by)
    producer.execute(
        "insert into pgqueue.jobs (job_type, depends_on) values ('child', array[%s::uuid])",
        (two.job_id,),
    )
    sessions.start(open_session(), "select pgqueue.set_limit('job_type', 't', 2)").rows()
    counted = [value(db, _HELD)]
    db.execute("select pgqueue.complete(%s, %s)", one.owned)
    producer.commit()
    db.execute("select pgqueue.maintain()")
    counted.append(value(db, _HELD))
    db.execute("select pgqueue.maintain()")

    assert counted == [1, 1]
    assert column(db, "select job_id from pgqueue.slots") == [two.job_id]
    assert column(db, "select problem from pgqueue.verify()") == []


def test_ordered_jobs_start_in_order_whoever_runs_them(
    open_session: Open, sessions: Sessions
) -> None:
    """First starts of each key, by token; eight claimers, retries and releases."""
    seed = random.randrange(2**32)  # noqa: S311
    db = open_session()
    db.execute("select pgqueue.set_settings(p_max_attempts => 100, p_backoff_base => '1 ms')")
    rows = [
        {"job_type": "t", "ordering_key": f"o{n % 12}", "payload": {"n": n}} for n in range(_JOBS)
    ]
    db.execute("select pgqueue.enqueue_many(%s)", (json.dumps(rows),))
    sessions.together([partial(_work, open_session, f"{seed} {n}", ["default"]) for n in range(8)])
    overlaps = value(
        db,
        """select count(*) from (
            select lag(x.last) over (partition by x.ordering_key order by x.n) > x.first as early
            from (
                select j.ordering_key, (j.payload ->> 'n')::integer as n,
                    least(f.started_at, min(a.started_at)) as first,
                    f.finished_at as last
                from pgqueue.jobs j
                join pgqueue.finished f on f.job_id = j.id
                left join pgqueue.attempts a on a.job_id = j.id
                group by j.ordering_key, j.payload, f.started_at, f.finished_at) x) y
        where y.early""",
    )

    assert overlaps == 0, f"seed {seed}"


def _drain(open_session: Open, deadline: float) -> int:
    """Claim and complete until the time is over; how many."""
    db = open_session()
    by = worker(db)
    done = 0
    while value(db, "select extract(epoch from clock_timestamp()) < %s", deadline):
        try:
            jobs = claim(db, by, 3)
        except psycopg.errors.SerializationFailure:  # pragma: no cover
            continue
        report(db, jobs)
        db.execute("select pgqueue.promote()")
        done += len(jobs)
    return done


def test_a_rate_holds_over_every_window_with_eight_claimers(
    open_session: Open, sessions: Sessions
) -> None:
    """At most the burst and what has come since; and hardly less, either."""
    db = open_session()
    db.execute("select pgqueue.set_limit('job_type', 't', null, 100, '1 second', 5)")
    db.execute("insert into pgqueue.jobs (job_type) select 't' from generate_series(1, 1000)")
    until = float(value(db, "select extract(epoch from clock_timestamp()) + 2"))
    done = sum(sessions.together([partial(_drain, open_session, until)] * 8))
    worst = value(
        db,
        """with f as (
            select started_at, row_number() over (order by started_at, token) as n
            from pgqueue.finished)
        select max(b.n - a.n + 1 - extract(epoch from b.started_at - a.started_at) * 100)
        from f a join f b on b.n >= a.n""",
    )

    assert worst <= 5.001
    assert done > 100


def test_maintenance_beside_a_claim_gives_no_token_back(
    open_session: Open, sessions: Sessions
) -> None:
    """It had looked at the clock before the claim took the last one: make chaos SEED=1 found it."""
    db, claimer = open_session(), open_session.transaction()
    db.execute("select pgqueue.set_limit('job_type', 't', null, 1, '10 seconds', 1)")
    insert_many(db, 1)
    by = worker(db)
    claimer.execute("lock table pgqueue.gate_buckets")
    tending = sessions.start(open_session(), "select pgqueue.tend_limits()").blocked()
    (job,) = claim(claimer, by)
    claimer.commit()
    tending.rows()
    waits = value(
        db,
        """select b.full_at - r.started_at
        from pgqueue.gate_buckets b, pgqueue.running r where r.job_id = %s""",
        job.job_id,
    )

    assert waits.total_seconds() == 10


def test_a_claim_that_parks_holds_no_other_jobs_than_those_it_starts(open_session: Open) -> None:
    """Others would pass over them, and start later ones: make mutants found such an inversion."""
    db, other = open_session(), open_session.transaction()
    db.execute("select pgqueue.set_limit('job_type', 'narrow', 1)")
    insert_many(db, 2, "narrow")
    by, late = worker(db), worker(db)
    claim(db, by, 1)
    insert_many(db, 5)
    first = column(db, "select job_id from pgqueue.ready where job_type = 't' order by pos limit 3")
    (one,) = claim(other, by, 1)
    two = claim(db, late, 2)
    other.commit()

    assert [one.job_id, *[job.job_id for job in two]] == first
    assert column(db, "select problem from pgqueue.verify()") == []


def test_two_limits_made_at_once_are_both_looked_at(open_session: Open, sessions: Sessions) -> None:
    """The second waits for the settings, and adds its name to what the first has written there."""
    db, first = open_session(), open_session.transaction()
    db.execute("select pgqueue.set_limit('job_type', 'old', 1)")
    db.execute("select pgqueue.drop_limit('job_type', 'old')")
    first.execute("select pgqueue.set_limit('job_type', 'a', 1)")
    second = sessions.start(
        open_session(), "select pgqueue.set_limit('job_type', 'b', 1)"
    ).blocked()
    db.execute("select pgqueue.tend_limits()")
    first.commit()
    second.rows()
    db.execute("select pgqueue.tend_limits()")

    assert value(db, "select limited_names from pgqueue.settings") == ["a", "b"]
