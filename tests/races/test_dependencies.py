"""A parent that finishes against its children: none stays blocked, none runs early."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    insert_many,
    sqlstate_of,
    status,
    value,
    worker,
)

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.races.sessions import Pending, Sessions
    from tests.support.sqljobs import Claimed, Db

_CHILD = (
    "insert into pgqueue.jobs (job_type, depends_on) values ('child', array[%s::uuid]) returning id"
)


def test_a_completion_waits_for_a_child_that_is_being_inserted(
    open_session: Open, sessions: Sessions
) -> None:
    """Otherwise neither would see the other, and the child would be blocked for ever."""
    producer, by = open_session(), open_session()
    parent = claim_this(by, insert(by))
    producer.execute("begin")
    child = value(producer, _CHILD, parent.job_id)
    done = sessions.start(by, "select pgqueue.complete(%s, %s)", *parent.owned).blocked()
    producer.execute("commit")

    assert done.value() == "succeeded"
    assert status(by, child) == "queued"


def _child_behind_a_completion(
    open_session: Open, sessions: Sessions
) -> tuple[Db, Claimed, Pending]:
    """Who is completing a parent, that parent, and the INSERT of its child, which waits for it."""
    producer, by = open_session(), open_session()
    parent = claim_this(by, insert(by))
    by.execute("begin")
    by.execute("select pgqueue.complete(%s, %s)", parent.owned)
    return by, parent, sessions.start(producer, _CHILD, parent.job_id).blocked()


def test_a_child_waits_for_a_completion_that_is_being_committed(
    open_session: Open, sessions: Sessions
) -> None:
    """It finds its parent finished, and does not wait for anything."""
    by, _, inserted = _child_behind_a_completion(open_session, sessions)
    by.execute("commit")

    assert status(by, inserted.value()) == "queued"


def test_a_rolled_back_completion_leaves_the_parent_to_be_waited_for(
    open_session: Open, sessions: Sessions
) -> None:
    """The insert goes on to mark the row that is still there."""
    by, parent, inserted = _child_behind_a_completion(open_session, sessions)
    by.execute("rollback")
    child = inserted.value()
    before = status(by, child)
    by.execute("select pgqueue.complete(%s, %s)", parent.owned)

    assert (before, status(by, child)) == ("blocked", "queued")


@pytest.mark.parametrize("ending", ["complete", "fail"])
def test_two_parents_that_finish_at_once_let_their_child_go(
    open_session: Open, sessions: Sessions, ending: str
) -> None:
    """The later one waits for the earlier one and sees that nothing is left to wait for."""
    one, two = open_session(), open_session()
    first, second = claim_this(one, insert(one)), claim_this(two, insert(two))
    child = value(
        one,
        """insert into pgqueue.jobs (job_type, depends_on, on_parent_failure)
        values ('child', array[%s, %s]::uuid[], 'run') returning id""",
        first.job_id,
        second.job_id,
    )
    call = (
        f"select pgqueue.{ending}(%s, %s)"
        if ending == "complete"
        else "select pgqueue.fail(%s, %s, null, false)"
    )
    one.execute("begin")
    one.execute(call, first.owned)
    later = sessions.start(two, call, *second.owned).blocked()
    one.execute("commit")
    later.rows()

    assert status(one, child) == "queued"


def test_a_claim_during_the_insert_of_a_child_is_made_up_for(open_session: Open) -> None:
    """The parent's ready row is locked until the insert commits; then it is claimed."""
    producer, by = open_session(), open_session()
    parent = insert(by)
    producer.execute("begin")
    child = value(producer, _CHILD, parent)
    meanwhile = claim(by, worker(by))
    producer.execute("commit")
    (job,) = claim(by, worker(by))
    by.execute("select pgqueue.complete(%s, %s)", job.owned)

    assert meanwhile == []
    assert status(by, child) == "queued"


@pytest.mark.parametrize("marked_before", [False, True])
def test_a_completion_with_a_snapshot_from_before_the_child_is_refused(
    open_session: Open, *, marked_before: bool
) -> None:
    """REPEATABLE READ cannot see the child: 40001 instead of a child that is blocked for ever."""
    producer, by = open_session(), open_session()
    parent = claim_this(by, insert(by))
    if marked_before:
        value(producer, _CHILD, parent.job_id)
    by.execute("begin isolation level repeatable read")
    by.execute("select from pgqueue.jobs")
    child = value(producer, _CHILD, parent.job_id)
    found = sqlstate_of(by, "select pgqueue.complete(%s, %s)", *parent.owned)
    by.execute("rollback")
    by.execute("select pgqueue.complete(%s, %s)", parent.owned)

    assert found == "40001"
    assert status(by, child) == "queued"


def test_a_parent_keeps_its_place_in_the_queue(open_session: Open) -> None:
    """Its ready row is written anew, at its old position."""
    db = open_session()
    jobs = [insert(db) for _ in range(3)]
    value(db, _CHILD, jobs[0])

    assert [job.job_id for job in claim(db, worker(db))] == jobs


def test_a_retry_waits_for_a_child_that_counts_on_the_end_of_its_parent(
    open_session: Open, sessions: Sessions
) -> None:
    """The child read that the parent succeeded; it must not become unfinished meanwhile."""
    producer, by = open_session(), open_session()
    parent = claim_this(by, insert(by))
    by.execute("select pgqueue.complete(%s, %s)", parent.owned)
    producer.execute("begin")
    child = value(producer, _CHILD, parent.job_id)
    retried = sessions.start(by, "select pgqueue.retry(%s)", parent.job_id).blocked()
    producer.execute("commit")
    retried.rows()

    assert status(by, child) == "queued"


def test_a_child_that_comes_while_its_parent_is_let_go_is_not_forgotten(
    open_session: Open, sessions: Sessions
) -> None:
    """The parent gets its mark after it was read as free to go, and before it is moved."""
    db, holder, finisher = open_session(), open_session(), open_session()
    first = claim_this(db, insert(db))
    held, parent = sorted(value(db, _CHILD, first.job_id) for _ in range(2))
    holder.execute("begin")
    holder.execute("select from pgqueue.blocked where job_id = %s for update", (held,))
    finished = sessions.start(finisher, "select pgqueue.complete(%s, %s)", *first.owned).blocked()
    child = value(db, _CHILD, parent)
    holder.execute("commit")
    finished.rows()
    db.execute("select pgqueue.complete(%s, %s)", claim_this(db, parent).owned)

    assert status(db, child) == "queued"


def _work(db: Db) -> int:
    by = worker(db)
    done = 0
    for _ in range(400):
        jobs = claim(db, by, 7)
        for n, job in enumerate(jobs):
            if (job.pos + n) % 5 == 0:
                db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
            else:
                db.execute("select pgqueue.complete(%s, %s)", job.owned)
        done += len(jobs)
    return done


def _produce(db: Db, seed: int) -> int:
    made = 0
    for n in range(60):
        parents = column(
            db,
            """select id from pgqueue.jobs order by md5(id::text || %s) limit %s""",
            f"{seed} {n}",
            1 + n % 4,
        )
        db.execute(
            """insert into pgqueue.jobs (job_type, depends_on, on_parent_failure)
            values ('child', %s, %s)""",
            (parents, ("fail", "run")[n % 2]),
        )
        made += 1
    return made


def test_random_graphs_under_load_leave_nobody_blocked(
    open_session: Open, sessions: Sessions
) -> None:
    """Producers add children to whatever is there while workers finish it: no job is left."""
    db = open_session()
    insert_many(db, 100)
    tasks = [partial(_produce, open_session(), seed) for seed in range(3)]
    tasks += [partial(_work, open_session()) for _ in range(3)]
    sessions.together(tasks)
    _work(db)

    assert column(db, "select job_id from pgqueue.blocked") == []
    assert column(db, "select job_id from pgqueue.dependencies") == []
    assert value(db, "select count(*) from pgqueue.finished") == 100 + 180
