"""Jobs that wait for other jobs: until when, and what becomes of them when a parent fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    insert_many,
    place,
    refused,
    row,
    run_one,
    sqlstate_of,
    status,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.sqljobs import Db


def _succeed(db: Db, job_id: UUID) -> None:
    db.execute("select pgqueue.complete(%s, %s)", claim_this(db, job_id).owned)


def _fail(db: Db, job_id: UUID) -> None:
    db.execute("select pgqueue.fail(%s, %s, null, false)", claim_this(db, job_id).owned)


def _child(db: Db, *parents: UUID, **more: Any) -> UUID:
    return insert(db, "child", depends_on=parents, **more)


def test_a_job_waits_until_all_its_parents_have_succeeded(db: Db) -> None:
    """Blocked by two; the second one lets it go, and nobody could claim it before."""
    first, second = insert(db), insert(db)
    child = _child(db, first, second)
    _succeed(db, first)
    after_one = status(db, child)
    _succeed(db, second)

    assert (after_one, status(db, child)) == ("blocked", "queued")
    assert column(db, "select job_id from pgqueue.dependencies") == []


def test_partial_counts_as_success(db: Db) -> None:
    """Some rows of an import failed; the job after it is about the others."""
    parent = run_one(db)
    child = _child(db, parent.job_id)
    db.execute("""select pgqueue.complete(%s, %s, p_errors => '[{"code": "c"}]')""", parent.owned)

    assert status(db, child) == "queued"


def test_a_job_whose_parents_have_finished_does_not_wait(db: Db) -> None:
    """Nor does it wait for a parent named twice."""
    parent = insert(db)
    _succeed(db, parent)

    assert status(db, _child(db, parent, parent)) == "queued"


@pytest.mark.parametrize("how", ["failed", "cancelled while it waits", "cancelled while it runs"])
def test_a_parent_that_does_not_succeed_fails_its_dependents(db: Db, how: str) -> None:
    """All levels below it, with an error that names the job to look at."""
    parent = insert(db)
    child = _child(db, parent, insert(db))
    grandchild = _child(db, child)
    match how:
        case "failed":
            _fail(db, parent)
        case "cancelled while it waits":
            db.execute("select pgqueue.cancel(%s)", (parent,))
        case _:
            db.execute("select pgqueue.cancel_running(%s, %s)", claim_this(db, parent).owned)
    found = row(db, "select status, errors from pgqueue.job_status where id = %s", child)
    below = row(db, "select status, errors from pgqueue.job_status where id = %s", grandchild)

    assert [found[0], found[1][0]["code"]] == ["failed", "parent_failed"]
    assert str(parent) in found[1][0]["message"]
    assert [below[0], str(child) in below[1][0]["message"]] == ["failed", True]


def test_run_anyway_waits_for_all_and_then_runs(db: Db) -> None:
    """A clean-up after jobs that may have failed: both have to be over."""
    first, second = insert(db), insert(db)
    child = _child(db, first, second, on_parent_failure="run")
    _fail(db, first)
    after_failure = status(db, child)
    _succeed(db, second)

    assert (after_failure, status(db, child)) == ("blocked", "queued")


def test_a_chain_of_many_levels_fails_to_its_end(db: Db) -> None:
    """400 levels that a batch counts: no level costs stack of the server, and all are counted."""
    batch = value(db, "select pgqueue.open_batch('b')")
    db.execute(
        """with ids as materialized (
            select g, pgqueue.uuid_v7() as id from generate_series(1, 400) g)
        insert into pgqueue.jobs (id, job_type, batch_id, depends_on)
        select i.id, 'x', %s, case when g > 1 then array[lag(i.id) over (order by g)] end
        from ids i order by g""",
        (batch,),
    )
    first = value(db, "select id from pgqueue.jobs where depends_on is null")
    _fail(db, first)
    failed = value(db, "select count(*) from pgqueue.finished where status = 'failed'")
    counted = value(db, "select failed from pgqueue.batch_status where id = %s", batch)

    assert (failed, counted) == (400, 400)
    assert column(db, "select problem from pgqueue.verify()") == []


def test_a_child_and_its_child_that_share_a_failed_parent_fail_once(db: Db) -> None:
    """With keys: what their end sets off must not fail the lower one a second time."""
    parent = insert(db)
    child = _child(db, parent, unique_key="a")
    grandchild = _child(db, parent, child, unique_key="b")
    _fail(db, parent)

    assert [status(db, job) for job in (child, grandchild)] == ["failed", "failed"]
    assert column(db, "select problem from pgqueue.verify()") == []


def test_a_failed_attempt_that_is_retried_fails_nobody(db: Db) -> None:
    """Only the end of a parent counts; retries, lost workers and snoozes are on the way to it."""
    parent = insert(db)
    child = _child(db, parent)
    db.execute(
        "select pgqueue.fail(%s, %s, p_retry_after => '1 hour')", claim_this(db, parent).owned
    )
    db.execute("select pgqueue.retry(%s)", (parent,))
    by = worker(db)
    claim_this(db, parent, by)
    worker_dies(db, by)
    db.execute("select pgqueue.rescue()")
    on_the_way = (status(db, parent), status(db, child))
    _succeed(db, parent)

    assert on_the_way == ("queued", "blocked")
    assert status(db, child) == "queued"


def test_a_child_of_a_failed_parent_fails_at_once(db: Db) -> None:
    """Its insert succeeds: what it depends on has failed, not the request."""
    parent = insert(db)
    _fail(db, parent)

    assert status(db, _child(db, parent)) == "failed"
    assert status(db, _child(db, parent, on_parent_failure="run")) == "queued"


def test_run_at_counts_after_the_parents(db: Db) -> None:
    """Released before its time a child is scheduled."""
    parent = insert(db)
    child = _child(db, parent, run_at="2100-01-01")
    _succeed(db, parent)

    assert status(db, child) == "scheduled"


def test_parents_and_children_in_one_insert(db: Db) -> None:
    """A diamond, all ids chosen by the client."""
    top, left, right, bottom = (uuid4() for _ in range(4))
    db.execute(
        """insert into pgqueue.jobs (id, job_type, depends_on) values
        (%(bottom)s, 't', array[%(left)s, %(right)s]::uuid[]),
        (%(left)s, 't', array[%(top)s]::uuid[]),
        (%(top)s, 't', null), (%(right)s, 't', array[%(top)s]::uuid[])""",
        {"top": top, "left": left, "right": right, "bottom": bottom},
    )
    order = []
    by = worker(db)
    while jobs := claim(db, by):
        order.append({job.job_id for job in jobs})
        for job in jobs:
            db.execute("select pgqueue.complete(%s, %s)", job.owned)

    assert order == [{top}, {left, right}, {bottom}]


def test_a_circle_is_refused(db: Db) -> None:
    """A job cannot wait for itself, not through others either."""
    a, b, c = uuid4(), uuid4(), uuid4()
    with refused("23514", constraint="jobs_depends_on_acyclic"):
        db.execute(
            """insert into pgqueue.jobs (id, job_type, depends_on)
            values (%s, 't', %s), (%s, 't', %s), (%s, 't', %s)""",
            (a, [b], b, [c], c, [a]),
        )
    with refused("23514", constraint="jobs_depends_on_acyclic"):
        db.execute(
            "insert into pgqueue.jobs (id, job_type, depends_on) values (%s, 't', %s)", (a, [a])
        )


@pytest.mark.parametrize(
    ("depends_on", "failure", "sqlstate"),
    [
        ("array[gen_random_uuid()]", "fail", "23503"),
        ("'{}'", "fail", "23514"),
        ("array[null]::uuid[]", "fail", "23514"),
        ("null", "explode", "23514"),
        ("'{not a uuid}'", "fail", "22P02"),
    ],
)
def test_parents_that_make_no_sense_are_refused(
    db: Db, depends_on: str, failure: str, sqlstate: str
) -> None:
    """At the INSERT, by the name of a constraint."""
    query = f"""insert into pgqueue.jobs (job_type, depends_on, on_parent_failure)
        values ('t', {depends_on}, '{failure}')"""

    assert sqlstate_of(db, query) == sqlstate
    assert column(db, "select id from pgqueue.jobs") == []


def test_a_fan_of_a_thousand_parents_and_children(db: Db) -> None:
    """One job waits for 1,000, and 1,000 wait for it; the cost of letting go stays small."""
    insert_many(db, 1000, "parent")
    parents = column(db, "select id from pgqueue.jobs")
    middle = _child(db, *parents)
    db.execute(
        """insert into pgqueue.jobs (job_type, depends_on)
        select 'leaf', %s from generate_series(1, 1000)""",
        ([middle],),
    )
    db.execute("set statement_timeout = '20s'")
    by = worker(db)
    for _ in range(3):
        jobs = claim(db, by, 500)
        db.execute(
            "select * from pgqueue.report(%s, %s)",
            ([job.job_id for job in jobs], [job.token for job in jobs]),
        )

    assert value(db, "select count(*) from pgqueue.ready where job_type = 'leaf'") == 1000


def test_cancelling_a_child_leaves_its_parents_alone(db: Db) -> None:
    """And finishing them afterwards revives nobody."""
    parent = insert(db)
    child = _child(db, parent)
    db.execute("select pgqueue.cancel(%s)", (child,))
    _succeed(db, parent)

    assert (status(db, parent), status(db, child)) == ("succeeded", "cancelled")
    assert column(db, "select job_id from pgqueue.dependencies") == []


def test_a_child_reads_what_its_parents_came_to(db: Db) -> None:
    """In the order in which they are named."""
    jobs = [run_one(db), run_one(db)]
    child = _child(db, jobs[1].job_id, jobs[0].job_id)
    for n, job in enumerate(jobs):
        db.execute("select pgqueue.complete(%s, %s, %s)", (*job.owned, json.dumps({"n": n})))
    found = db.execute("select parent_id, status, result from pgqueue.parent_results(%s)", (child,))

    assert found.fetchall() == [
        (jobs[1].job_id, "succeeded", {"n": 1}),
        (jobs[0].job_id, "succeeded", {"n": 0}),
    ]


def test_why_waiting_names_the_missing_parents(db: Db) -> None:
    """With the status of each, three at most."""
    parents = [insert(db) for _ in range(5)]
    child = _child(db, *parents)
    words = value(db, "select pgqueue.why_waiting(%s)", child)

    assert words.startswith("blocked: waits for 5 jobs, ")
    assert sum(str(parent) in words for parent in parents) == 3
    assert "(queued)" in words


def test_a_workflow_is_all_that_is_connected(db: Db) -> None:
    """From any of its jobs, finished ones included; nothing else."""
    a, b = insert(db), insert(db)
    c = _child(db, a, b)
    d = _child(db, c)
    insert(db)
    _succeed(db, a)

    for job in (a, b, c, d):
        found = db.execute("select job_id, status from pgqueue.workflow(%s)", (job,)).fetchall()
        assert dict(found) == {a: "succeeded", b: "queued", c: "blocked", d: "blocked"}


def test_moving_a_waiting_child_keeps_it_blocked(db: Db) -> None:
    """An UPDATE changes its payload and queue; what it waits for never changes."""
    parent = insert(db)
    child = _child(db, parent)
    db.execute("update pgqueue.jobs set queue = 'other', priority = 0 where id = %s", (child,))
    with refused("PQ007"):
        db.execute("update pgqueue.jobs set depends_on = null where id = %s", (child,))
    before = place(db, child)
    _succeed(db, parent)

    assert before == "blocked"
    assert row(db, "select queue, priority from pgqueue.ready where job_id = %s", child) == (
        "other",
        0,
    )


def test_a_retried_parent_can_have_new_children(db: Db) -> None:
    """It is unfinished again, and they wait for its new end."""
    parent = insert(db)
    _fail(db, parent)
    db.execute("select pgqueue.retry(%s)", (parent,))
    child = _child(db, parent)
    _succeed(db, parent)

    assert status(db, child) == "queued"


def test_jobs_without_dependents_touch_no_dependency(db: Db) -> None:
    """Claim and completion of plain jobs never look into the table."""
    insert_many(db, 100)
    jobs = claim(db, worker(db))
    query = """select coalesce(idx_scan, 0) + seq_scan from pg_stat_xact_user_tables
        where relname = 'dependencies'"""
    with db.transaction():
        db.execute(
            "select * from pgqueue.report(%s, %s)",
            ([job.job_id for job in jobs], [job.token for job in jobs]),
        )
        looked = value(db, query)

    assert looked == 0


def test_a_retried_child_waits_for_its_retried_parent(db: Db) -> None:
    """Redriving keeps the order; a child alone is refused while its parent has failed."""
    parent = insert(db)
    child = _child(db, parent)
    _fail(db, parent)
    with refused("PQ002"):
        db.execute("select pgqueue.retry(%s)", (child,))
    redriven = value(db, "select pgqueue.redrive()")
    places = (place(db, parent), place(db, child))
    _succeed(db, parent)

    assert (redriven, places) == (2, ("ready", "blocked"))
    assert status(db, child) == "queued"


def test_names_stand_for_jobs_of_one_call(db: Db) -> None:
    """enqueue_many() resolves them, in any order, beside ids of jobs that are there."""
    there = insert(db)
    jobs = [
        {"job_type": "c", "depends_on": ["a", "b", str(there)], "on_parent_failure": "run"},
        {"job_type": "b", "name": "b", "depends_on": ["a"]},
        {"job_type": "a", "name": "a"},
    ]
    ids = column(db, "select id from pgqueue.enqueue_many(%s) order by n", json.dumps(jobs))
    found = column(
        db, "select depends_on from pgqueue.jobs where id = any(%s) order by job_type", ids
    )
    c, b, a = ids

    assert found == [None, [a], [a, b, there]]
    assert [status(db, one) for one in (a, b, c)] == ["queued", "blocked", "blocked"]


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([{"job_type": "t", "depends_on": ["nobody"]}], "neither a job id nor the name"),
        ([{"job_type": "t", "name": "a"}, {"job_type": "t", "name": "a"}], "given twice"),
        ([{"job_type": "t", "name": "a", "unique_key": "k"}], "takes no id"),
        ([{"job_type": "t", "depends_on": "a"}], "not an array"),
        ([{"job_type": "t", "depends_on": [None]}], "neither a job id nor the name"),
    ],
)
def test_names_that_make_no_sense_are_refused(db: Db, jobs: list[Any], message: str) -> None:
    """Before anything is inserted."""
    with pytest.raises(psycopg.Error, match=message) as caught:
        db.execute("select * from pgqueue.enqueue_many(%s)", (json.dumps(jobs),))

    assert caught.value.sqlstate == "PQ006"
    assert column(db, "select id from pgqueue.jobs") == []


def test_a_circle_of_names_is_refused(db: Db) -> None:
    """As ids are."""
    jobs = [
        {"job_type": "t", "name": "a", "depends_on": ["b"]},
        {"job_type": "t", "name": "b", "depends_on": ["a"]},
    ]
    with refused("23514", constraint="jobs_depends_on_acyclic"):
        db.execute("select * from pgqueue.enqueue_many(%s)", (json.dumps(jobs),))

    assert column(db, "select id from pgqueue.jobs") == []


def test_the_inbox_takes_parents_and_says_blocked(db: Db) -> None:
    """An empty array means none."""
    parent = insert(db)
    query = (
        "insert into pgqueue.inbox (job_type, depends_on) values (%s, %s::uuid[]) returning status"
    )

    assert value(db, query, "t", [parent]) == "blocked"
    assert value(db, query, "t", []) == "queued"


def test_a_child_keeps_its_unique_key_while_blocked(db: Db) -> None:
    """Failing gives it back; a request that would change its parents is refused."""
    parent = insert(db)
    child = _child(db, parent, unique_key="k")
    with refused("PQ006"):
        db.execute(
            """select pgqueue.enqueue('t', p_unique_key => 'k', p_on_duplicate => 'replace',
            p_depends_on => %s)""",
            ([parent],),
        )
    _fail(db, parent)

    assert status(db, child) == "failed"
    assert insert(db, unique_key="k") != child
