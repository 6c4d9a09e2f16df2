"""verify() finds each kind of corruption that somebody with too many rights can plant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import STATUSES, column, job_in, value

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
