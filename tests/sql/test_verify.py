"""verify() finds each kind of corruption that somebody with too many rights can plant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import STATUSES, column, insert, job_in, value

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

# What is reported -> how to plant it, in a database with one job in each status.
_PLANTED = {
    "job in no table": "delete from pgqueue.ready",
    "job in several tables": """insert into pgqueue.ready (job_id, queue, priority, job_type)
        select job_id, queue, priority, job_type from pgqueue.running limit 1""",
    "state without a job": """delete from pgqueue.jobs
        where id = (select job_id from pgqueue.finished where status = 'failed')""",
    "finished job holds its unique key": """update pgqueue.jobs set unique_key = 'x'
        where id = (select job_id from pgqueue.finished where status = 'failed')""",
    "unique key and flag disagree": """update pgqueue.jobs set unique_key = 'x'
        where id = (select job_id from pgqueue.ready)""",
    "notices and flags disagree": "update pgqueue.ready set flags = flags | 4",
    "running job of a worker that is gone": "delete from pgqueue.workers",
    "follow-up of a job that does not run": """update pgqueue.blocked
        set waits_for = gen_random_uuid()""",
    "blocked job that waits for nothing": """update pgqueue.blocked
        set reason = 'dependencies'""",
    "dependency of a job that is not blocked": """insert into pgqueue.dependencies
        select gen_random_uuid(), job_id from pgqueue.running limit 1""",
    "dependency on a job without the mark": """insert into pgqueue.dependencies (parent_id, job_id)
        select r.job_id, b.job_id from pgqueue.ready r, pgqueue.blocked b limit 1""",
    "batch and flag disagree": "update pgqueue.ready set flags = flags | 64",
    "job of a batch that does not exist": """update pgqueue.jobs set batch_id = gen_random_uuid()
        where id = (select job_id from pgqueue.ready)""",
    "batch counts its unfinished jobs wrong": "insert into pgqueue.batches (total) values (1)",
    "batch is over and not settled": "insert into pgqueue.batches (closed_at) values (now())",
    "batch without the job that was to follow": """insert into pgqueue.batches
        (closed_at, finished_at, on_complete) values (now(), now(), '{}')""",
    "job that has waited for a signal without the mark": """update pgqueue.blocked
        set reason = 'signal', signal = 'a', waits_for = null""",
    "job waits for a signal that it has": """with told as (
            insert into pgqueue.signals (job_id, name) select job_id, 'a' from pgqueue.blocked)
        update pgqueue.blocked set reason = 'signal', signal = 'a', flags = 256""",
    "parked job without a gate": "update pgqueue.blocked set reason = 'limit'",
    "place of an attempt that does not run": """insert into pgqueue.slots (job_id, token, gate)
        values (gen_random_uuid(), 1, '1')""",
    "running job holds no place in spite of its mark": """update pgqueue.running
        set flags = flags | 32""",
    "gate has room, and nobody is told": """update pgqueue.blocked
        set reason = 'limit', gate = '999999', pos = 1, ready_at = now()""",
    "ordered job out of its order": "update pgqueue.jobs set ordering_key = 'k'",
    "job waits for itself, through parents and orders": """with behind as (
            insert into pgqueue.dependencies (parent_id, job_id)
            select r.job_id, b.job_id from pgqueue.ready r, pgqueue.blocked b limit 1
            returning *)
        insert into pgqueue.ordered_jobs (gate, job_id)
        select '0::k', x.id from behind b, unnest(array[b.job_id, b.parent_id]) x (id)""",
    "place in an order without a job": """insert into pgqueue.ordered_jobs (gate, job_id)
        values ('0::k', gen_random_uuid())""",
    "blocked by a hook without its mark": "update pgqueue.blocked set reason = 'hook'",
    "held job that is not blocked": "update pgqueue.ready set flags = flags | 1024",
    "hook call for a job that is not finished": """insert into pgqueue.hook_calls
        select job_id, 's', 'f', 1, now(), 'e' from pgqueue.running limit 1""",
    "one token, two attempts": """insert into pgqueue.attempts (job_id, token, attempt, outcome)
        select job_id, token, attempt, 'lost' from pgqueue.running limit 1""",
    "attempts or results without a job": """insert into pgqueue.job_results
        values (gen_random_uuid(), 'A', '1')""",
    "attempt number of a running job": "update pgqueue.running set attempt = 0",
}


@pytest.mark.breaks_invariants
def test_each_kind_of_corruption_is_reported(db: Db) -> None:
    """One at a time, with the triggers off; undone, there is nothing to report."""
    for wanted in STATUSES:
        job_in(db, wanted)
    clean = column(db, "select problem from pgqueue.verify()")
    missed = []
    for problem, damage in _PLANTED.items():
        with db.transaction(force_rollback=True):
            db.execute("set local session_replication_role = replica")
            damaged = db.execute(damage).rowcount
            found = column(db, "select problem from pgqueue.verify()")
        if problem not in found or damaged < 1:
            missed.append((problem, damaged, found))

    assert clean == []
    assert missed == []


def test_every_check_of_verify_is_planted_here(db: Db) -> None:
    """A new check without damage that it finds fails this test."""
    body = value(db, "select prosrc from pg_proc where oid = 'pgqueue.verify()'::regprocedure")

    assert [problem for problem in _PLANTED if f"'{problem}'" not in body] == []
    assert body.count("union all\n    select '") + 1 == len(_PLANTED)


def test_the_installed_schema_has_not_drifted(db: Db) -> None:
    """And a change by hand is named."""
    before = column(db, "select name from pgqueue.drift()")
    db.execute("alter table pgqueue.jobs add column extra text")
    db.execute("drop index pgqueue.finished_failed_idx")

    assert before == []
    assert db.execute("select kind, name, drift from pgqueue.drift()").fetchall() == [
        ("index", "pgqueue.finished_failed_idx", "missing"),
        ("table", "jobs", "changed"),
    ]
    db.execute("alter table pgqueue.jobs drop column extra")


@pytest.mark.breaks_invariants
def test_a_circle_through_several_keys_and_parents_is_reported(db: Db) -> None:
    """One waits for a parent, that for another's next, and the job before that for the one."""
    first = insert(db, ordering_key="k")
    between = insert(db)
    second, waits, behind = (
        insert(db, ordering_key=key, depends_on=parents)
        for key, parents in (("k", None), ("l", (first,)), ("l", None))
    )
    straight = column(db, "select job_id from pgqueue.circles()")
    db.execute(
        "insert into pgqueue.dependencies (parent_id, job_id) values (%s, %s), (%s, %s)",
        (behind, between, between, first),
    )
    found = column(db, "select job_id from pgqueue.circles()")

    assert straight == []
    assert found == [first]
    assert second not in found
    assert waits not in found
