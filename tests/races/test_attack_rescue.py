"""Rescue under attack: long transactions, clocks that jump, workers deleted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    place,
    refused,
    row,
    run_one,
    status,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.support.sqljobs import Db

_ENQUEUE = "select pgqueue.enqueue('t', p_unique_key => %s, p_on_duplicate => 'replace')"


def _own(db: Db) -> int:
    """A worker that owns one job with a unique key and one without."""
    insert(db, unique_key="k")
    insert(db)
    by = worker(db)
    assert len(claim(db, by)) == 2
    return by


def test_maintenance_does_not_wait_for_a_producer(open_session: Open) -> None:
    """A follow-up in a long transaction leaves its holder to a later call; all else goes on."""
    db, producer = open_session(), open_session.transaction()
    dead = _own(db)
    insert(db, "due", run_at="2100-01-01")
    db.execute("update pgqueue.scheduled set due_at = clock_timestamp()")
    worker_dies(db, dead)
    producer.execute(_ENQUEUE, ("k",))
    first = row(db, "select promoted, rescued from pgqueue.maintain()")
    producer.commit()
    second = row(db, "select promoted, rescued from pgqueue.maintain()")

    assert (first, second) == ((1, 1), (0, 1))
    assert column(db, "select count(*) from pgqueue.running") == [0]
    assert value(db, "select rescued_at is not null from pgqueue.workers where id = %s", dead)


def test_maintenance_and_a_batch_of_keys_do_not_deadlock(open_session: Open) -> None:
    """
    The producer holds the running holder and then wants the due one.

    Maintenance has the due one, and leaves the running one.
    """
    db, producer, maintainer = (
        open_session(),
        open_session.transaction(),
        open_session.transaction(),
    )
    job = run_one(db, unique_key="a")
    worker_dies(db, value(db, "select worker_id from pgqueue.running"))
    due = insert(db, unique_key="b", run_at="2100-01-01")
    db.execute("update pgqueue.scheduled set due_at = clock_timestamp()")
    producer.execute(_ENQUEUE, ("a",))
    done = row(maintainer, "select promoted, rescued from pgqueue.maintain()")
    maintainer.commit()
    producer.execute(_ENQUEUE, ("b",))
    producer.commit()

    assert done == (1, 0)
    assert (place(db, job.job_id), place(db, due)) == ("running", "ready")


def test_a_clock_set_back_does_not_keep_a_dead_worker_alive(open_session: Open) -> None:
    """A heartbeat from the future counts as one from now."""
    db = open_session()
    by = worker(db, lease="1 second")
    db.execute("update pgqueue.workers set heartbeat_at = clock_timestamp() + interval '2 hours'")
    db.execute("select pgqueue.rescue()")

    assert value(
        db, "select heartbeat_at <= clock_timestamp() from pgqueue.workers where id = %s", by
    )


def test_a_clock_set_back_does_not_hide_what_is_due(open_session: Open) -> None:
    """A floor in the future is none."""
    db = open_session()
    insert(db, run_at="2100-01-01")
    db.execute("update pgqueue.scheduled set due_at = clock_timestamp()")
    moved, floor_is_past = row(
        db,
        """select moved, next_floor <= clock_timestamp()
           from pgqueue.promote(10, clock_timestamp() + interval '1 hour')""",
    )

    assert (moved, floor_is_past) == (1, True)


@pytest.mark.parametrize("statement", ["delete from pgqueue.workers", "truncate pgqueue.workers"])
def test_a_worker_that_owns_jobs_is_not_deleted(open_session: Open, statement: str) -> None:
    """Its jobs would run for ever: rescue starts from the workers."""
    db = open_session()
    job = run_one(db)
    with refused("PQ007"):
        db.execute(statement)

    assert status(db, job.job_id) == "running"


def test_a_worker_that_owns_nothing_may_be_deleted(open_session: Open) -> None:
    """Nothing hangs on it."""
    db = open_session()
    worker(db)

    assert db.execute("delete from pgqueue.workers").rowcount == 1
