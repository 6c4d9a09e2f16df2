"""Ordering keys: one job at a time, in order of arrival, whatever happens to the one before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    insert_many,
    refused,
    report,
    status,
    value,
    worker,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.sqljobs import Db


def ordered(db: Db, count: int, key: str = "k", **columns: Any) -> list[UUID]:
    """Insert jobs of one key."""
    return [insert(db, ordering_key=key, **columns) for _ in range(count)]


def test_jobs_of_a_key_run_one_after_another_in_order_of_arrival(db: Db) -> None:
    """Others run beside them."""
    jobs = ordered(db, 4)
    plain = insert(db)
    by = worker(db)
    seen = []
    for _ in range(4):
        found = claim(db, by)
        seen.append([job.job_id for job in found])
        report(db, found)

    assert seen == [[jobs[0], plain], [jobs[1]], [jobs[2]], [jobs[3]]]


def test_keys_do_not_wait_for_each_other_nor_tenants_of_one_key(db: Db) -> None:
    """The key belongs to its tenant."""
    ordered(db, 2, "a")
    ordered(db, 2, "b")
    ordered(db, 2, "a", tenant_id="t")

    assert len(claim(db, worker(db))) == 3


def test_one_insert_of_many_rows_is_in_the_order_of_its_rows(db: Db) -> None:
    """Also with priorities that say otherwise."""
    db.execute(
        """insert into pgqueue.jobs (job_type, ordering_key, payload, priority)
        select 't', 'k', jsonb_build_object('n', n), 3 - n % 4 from generate_series(1, 20) n"""
    )
    by = worker(db)
    seen = []
    for _ in range(20):
        (job,) = claim(db, by)
        seen.append(int(job.payload[6:-1]))
        report(db, [job])

    assert seen == list(range(1, 21))


_NAMED: dict[str, list[tuple[str, str | None, list[str]]]] = {
    "child first": [("a", "k", ["b"]), ("b", "k", [])],
    "through a third": [("a", "k", ["m"]), ("m", None, ["b"]), ("b", "k", [])],
    "over two keys": [("a", "k", ["d"]), ("b", "k", []), ("c", "l", ["b"]), ("d", "l", [])],
    "a chain backwards": [
        ("a", "k", ["b", "c"]),
        ("x", "k", []),
        ("b", "k", ["c"]),
        ("c", "k", []),
    ],
}


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ("child first", "ba"),
        ("through a third", "bma"),
        ("over two keys", "dabc"),
        ("a chain backwards", "cbax"),
    ],
)
def test_a_job_never_comes_before_its_parents_in_their_key(db: Db, shape: str, order: str) -> None:
    """One INSERT that names children first: a parent moves ahead of them, the rest stays."""
    jobs = [
        {"job_type": name, "name": name, "ordering_key": key, "depends_on": parents or None}
        for name, key, parents in _NAMED[shape]
    ]
    db.execute("select pgqueue.enqueue_many(%s)", (json.dumps(jobs),))
    by = worker(db)
    seen = []
    for _ in jobs:
        found = claim(db, by)
        seen += [job.job_type for job in found]
        report(db, found)

    assert "".join(seen) == order


def test_a_circle_of_jobs_of_one_key_is_refused(db: Db) -> None:
    """Putting parents first comes to an end, and then the circle is found."""
    jobs = [
        {"job_type": "t", "name": name, "ordering_key": "k", "depends_on": [parent]}
        for name, parent in ("ab", "bc", "ca")
    ]
    with refused("23514"):
        db.execute("select pgqueue.enqueue_many(%s)", (json.dumps(jobs),))

    assert value(db, "select count(*) from pgqueue.ordered_jobs") == 0


@pytest.mark.parametrize(
    "setback",
    [
        "select pgqueue.fail(%(id)s, %(token)s, null, true, '1 hour')",
        "select pgqueue.snooze(%(id)s, %(token)s, '1 hour')",
        "select pgqueue.release(%(id)s, %(token)s)",
        "update pgqueue.workers set heartbeat_at = '2001-01-01' where id = %(worker)s",
    ],
)
def test_nobody_overtakes_a_job_that_comes_back(db: Db, setback: str) -> None:
    """Backoff, snooze, release, a lost worker."""
    jobs = ordered(db, 3)
    by = worker(db)
    (job,) = claim(db, by)
    db.execute(setback, {"id": job.job_id, "token": job.token, "worker": by})
    db.execute("select pgqueue.maintain()")
    by = worker(db)
    early = claim(db, by)
    db.execute("update pgqueue.scheduled set due_at = '2001-01-01'")
    db.execute("select pgqueue.promote()")
    seen = []
    for _ in range(3):
        found = early or claim(db, by)
        early = []
        seen += [one.job_id for one in found]
        report(db, found)

    assert seen == jobs


@pytest.mark.parametrize("policy", [None, "skip"])
def test_a_failed_job_is_skipped(db: Db, policy: str | None) -> None:
    """And if it is retried, it comes last."""
    jobs = ordered(db, 3, ordering_on_failure=policy)
    by = worker(db)
    (job,) = claim(db, by)
    db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    db.execute("select pgqueue.retry(%s)", (job.job_id,))
    seen = []
    for _ in range(3):
        found = claim(db, by)
        seen += [one.job_id for one in found]
        report(db, found)

    assert seen == [jobs[1], jobs[2], jobs[0]]


@pytest.mark.parametrize("way_out", ["retry", "skip", "delete"])
def test_a_failed_job_that_blocks_its_key_holds_it_until_somebody_acts(
    db: Db, way_out: str
) -> None:
    """Retried, it is the first again."""
    jobs = ordered(db, 2, ordering_on_failure="block")
    by = worker(db)
    (job,) = claim(db, by)
    db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    held = claim(db, by)
    words = value(db, "select pgqueue.why_waiting(%s)", jobs[1])
    match way_out:
        case "retry":
            db.execute("select pgqueue.retry(%s)", (jobs[0],))
        case "skip":
            assert value(db, "select pgqueue.skip_ordered(%s)", jobs[0]) is True
        case "delete":
            db.execute("delete from pgqueue.jobs where id = %s", (jobs[0],))
    (following,) = claim(db, by)

    assert held == []
    assert words.startswith(f"blocked: job {jobs[0]} comes first in its ordering key (failed)")
    assert following.job_id == jobs[0 if way_out == "retry" else 1]


def test_cancelling_one_in_the_middle_or_at_the_head_goes_on(db: Db) -> None:
    """Waiting, parked or running."""
    jobs = ordered(db, 4)
    by = worker(db)
    (first,) = claim(db, by)
    db.execute("select pgqueue.cancel(%s)", (jobs[1],))
    report(db, [first])
    db.execute("select pgqueue.cancel(%s)", (jobs[2],))
    (last,) = claim(db, by)

    assert last.job_id == jobs[3]
    assert [status(db, job) for job in jobs[1:3]] == ["cancelled"] * 2


def test_a_later_time_holds_the_key(db: Db) -> None:
    """Order of arrival, not of time."""
    first = insert(db, ordering_key="k", run_at="2100-01-01")
    second = insert(db, ordering_key="k")
    by = worker(db)
    before = claim(db, by)
    db.execute("select pgqueue.retry(%s)", (first,))

    assert before == []
    assert [job.job_id for job in claim(db, by)] == [first]
    assert status(db, second) == "blocked"


def test_an_ordered_job_under_a_limit_keeps_both(db: Db) -> None:
    """Ten keys, at most two at once."""
    db.execute("select pgqueue.set_limit('job_type', 't', 2)")
    for n in range(30):
        insert(db, ordering_key=f"k{n % 10}", payload={"n": n})
    by = worker(db)
    seen: dict[str, list[int]] = {}
    for _ in range(40):
        found = claim(db, by)
        assert len(found) <= 2
        for job in found:
            n = int(job.payload[6:-1])
            seen.setdefault(f"k{n % 10}", []).append(n)
        report(db, found)

    assert seen == {f"k{k}": [k, k + 10, k + 20] for k in range(10)}


def test_the_first_ordered_job_turns_limits_on_and_a_plain_claim_never_takes_one(db: Db) -> None:
    """A claim that has read its settings before that leaves it alone."""
    before = value(db, "select limited from pgqueue.settings")
    ordered(db, 1)
    db.execute("update pgqueue.settings set limited = false")
    by = worker(db)
    early = claim(db, by)
    db.execute("select pgqueue.maintain()")

    assert (before, early) == (False, [])
    assert len(claim(db, by)) == 1
    assert column(db, "select limited from pgqueue.settings") == [True]


def test_the_end_of_an_ordered_job_costs_the_same_at_every_size(db: Db) -> None:
    """By buffers, among 20 jobs and among 20,000: a join would read all of them at each report."""
    by = worker(db, ["k"], lease="1 hour")
    few = _end_of_ten(db, by)
    insert_many(db, 20_000)
    db.execute("analyze")
    _end_of_ten(db, by)
    many = _end_of_ten(db, by)

    assert many <= 1.3 * few + 10


def _end_of_ten(db: Db, by: int) -> int:
    db.execute(
        "insert into pgqueue.jobs (job_type, queue, ordering_key)"
        " select 't', 'k', 'key ' || n from generate_series(1, 10) n"
    )
    jobs = claim(db, by, 10, queues=["k"])
    ids, tokens = zip(*(job.owned for job in jobs), strict=True)
    (plan,) = value(
        db,
        "explain (analyze, buffers, format json) select * from pgqueue.report(%s, %s)",
        list(ids),
        list(tokens),
    )
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])
