"""maintain() and its parts: promotion, expiry, retention; each bounded, each safe to repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.sqljobs import (
    claim,
    claim_one,
    column,
    insert,
    insert_many,
    job_in,
    place,
    refused,
    report,
    row,
    run_one,
    status,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_PROMOTE = "select moved, next_floor, next_due_at from pgqueue.promote(%s, %s)"


def _due(db: Db, seconds_ago: float, job_type: str = "t") -> None:
    """Schedule a job, and let its time have come."""
    job_id = insert(db, job_type, run_at="2100-01-01")
    db.execute(
        """update pgqueue.scheduled set due_at = clock_timestamp() - make_interval(secs => %s)
           where job_id = %s""",
        (seconds_ago, job_id),
    )


def test_promotion_moves_what_is_due_earliest_first(db: Db) -> None:
    """In portions; attempts, flags, priority and queue come along."""
    for seconds in (10, 30, 20):
        _due(db, seconds, f"t{seconds}")
    insert(db, "later", run_at="2100-01-01")
    moved = [row(db, _PROMOTE, 2, None)[0] for _ in range(3)]

    assert moved == [2, 1, 0]
    assert column(db, "select job_type from pgqueue.ready order by pos") == ["t30", "t20", "t10"]


def test_promotion_says_when_to_come_back(db: Db) -> None:
    """next_due_at is the earliest job that is left."""
    empty = row(db, _PROMOTE, 10, None)
    insert(db, run_at="2100-02-02")
    insert(db, run_at="2100-01-01")
    _, _, due_at = row(db, _PROMOTE, 10, None)

    assert empty == (0, None, None)
    assert value(db, "select %s::timestamptz = '2100-01-01'", due_at) is True


def test_the_floor_of_promotion_is_a_hint_that_hides_what_is_below(db: Db) -> None:
    """A job committed late below it is found by a call without a floor."""
    _due(db, 10)
    _, floor, _ = row(db, _PROMOTE, 10, None)
    _due(db, 20, "late")
    with_floor = row(db, _PROMOTE, 10, floor)
    without = row(db, _PROMOTE, 10, None)

    assert (with_floor[0], with_floor[1]) == (0, floor)
    assert without[0] == 1


def test_the_floor_hides_nothing_that_shares_its_time(db: Db) -> None:
    """A limit that ends in the middle of jobs with one due time leaves none behind."""
    for _ in range(3):
        insert(db, run_at="2100-01-01")
    db.execute("update pgqueue.scheduled set due_at = '2001-01-01'")
    moved, floor, _ = row(db, _PROMOTE, 2, None)

    assert (moved, row(db, _PROMOTE, 2, floor)[0]) == (2, 1)


def test_promotion_lets_one_caller_in_at_a_time(connect: Connect) -> None:
    """The other gets an answer at once, and its own floor back."""
    one, two = connect(autocommit=False), connect()
    _due(two, 10)
    row(one, _PROMOTE, 10, None)

    assert row(two, _PROMOTE, 10, "2001-01-01")[0] == 0
    assert value(two, "select next_floor = '2001-01-01' from pgqueue.promote(10, '2001-01-01')")
    one.commit()


def test_a_promoted_job_was_ready_when_it_was_due(db: Db) -> None:
    """So that waiting times count the delay of promotion."""
    _due(db, 100)
    db.execute("select pgqueue.promote()")

    assert value(db, "select clock_timestamp() - ready_at > interval '99 s' from pgqueue.ready")


def test_expired_jobs_are_cancelled_wherever_they_wait(db: Db) -> None:
    """With code expired; others stay; in portions."""
    past = "2001-01-01"
    insert(db, expires_at=past)
    insert(db, run_at="2100-01-01", expires_at=past)
    blocked = job_in(db, "blocked").job_id
    db.execute("update pgqueue.jobs set expires_at = %s where id = %s", (past, blocked))
    kept = insert(db, expires_at="2100-01-01")
    expired = [value(db, "select pgqueue.expire(2)") for _ in range(3)]

    assert expired == [2, 1, 0]
    assert place(db, kept) == "ready"
    assert column(db, "select errors -> 0 ->> 'code' from pgqueue.finished") == ["expired"] * 3


def test_a_running_job_does_not_expire(db: Db) -> None:
    """expires_at says: do not start after."""
    job = run_one(db, expires_at="2100-01-01")
    db.execute("update pgqueue.running set deadline_at = null")

    assert value(db, "select pgqueue.expire()") == 0
    assert place(db, job.job_id) == "running"


def _age(db: Db, days: int) -> None:
    db.execute(
        "update pgqueue.finished set finished_at = finished_at - make_interval(days => %s)", (days,)
    )


def test_retention_removes_old_jobs_with_all_that_is_known_of_them(db: Db) -> None:
    """jobs, finished, attempts and job_results; young and live jobs stay."""
    old = run_one(db)
    db.execute("select pgqueue.snooze(%s, %s, '0')", old.owned)
    old = claim_one(db)
    db.execute("""select pgqueue.complete(%s, %s, p_created => '[["A", "1"]]')""", old.owned)
    _age(db, 31)
    young, live = job_in(db, "succeeded"), insert(db)
    removed = [value(db, "select pgqueue.retain()") for _ in range(2)]

    assert removed == [1, 0]
    assert set(column(db, "select id from pgqueue.jobs")) == {young.job_id, live}
    assert value(db, "select count(*) from pgqueue.attempts") == 0
    assert value(db, "select count(*) from pgqueue.job_results") == 0


def test_each_type_has_its_own_retention(db: Db) -> None:
    """Types without one use the settings; a long one is not removed for a short one's sake."""
    db.execute("select pgqueue.set_job_type('short', p_retention => '1 day')")
    db.execute("select pgqueue.set_job_type('long', p_retention => '1000 days')")
    db.execute("select pgqueue.set_job_type('never', p_retention => '100000 years')")
    for job_type in ("short", "long", "never", "unset"):
        insert(db, job_type)
    report(db, claim(db, worker(db)))
    _age(db, 2)
    removed = [value(db, "select pgqueue.retain()")]
    _age(db, 30)
    removed.append(value(db, "select pgqueue.retain()"))

    assert removed == [1, 1]
    assert column(db, "select job_type from pgqueue.jobs order by 1") == ["long", "never"]


def test_retention_is_bounded_and_takes_the_oldest_first(db: Db) -> None:
    """Over several types, exactly the limit."""
    oldest = insert(db, "b")
    report(db, claim(db, worker(db)))
    _age(db, 1)
    for job_type in ("b", "a"):
        insert_many(db, 5, job_type)
    report(db, claim(db, worker(db)))
    _age(db, 31)
    removed = [value(db, "select pgqueue.retain(6)")]
    gone = place(db, oldest) == "nowhere"
    removed += [value(db, "select pgqueue.retain(6)") for _ in range(2)]

    assert removed == [6, 5, 0]
    assert gone


def test_retention_serves_every_type_at_each_call(db: Db) -> None:
    """A type with more old jobs than one call removes does not starve those behind it."""
    insert_many(db, 20, "a")
    insert_many(db, 2, "b")
    report(db, claim(db, worker(db)))
    _age(db, 31)
    removed = value(db, "select pgqueue.retain(10)")

    assert removed == 10
    assert column(db, "select job_type from pgqueue.jobs group by 1") == ["a"]


def test_retention_skips_what_somebody_holds(connect: Connect) -> None:
    """It never waits: the held job goes next time."""
    db, holder = connect(), connect(autocommit=False)
    held = job_in(db, "succeeded")
    job_in(db, "succeeded")
    _age(db, 31)
    holder.execute("select from pgqueue.jobs where id = %s for update", (held.job_id,))
    first = value(db, "select pgqueue.retain()")
    holder.rollback()

    assert (first, value(db, "select pgqueue.retain()")) == (1, 1)


def test_maintain_does_all_parts(db: Db) -> None:
    """One call, one row of counts."""
    dead = worker(db)
    lost = insert(db)
    claim_one(db, dead)
    worker_dies(db, dead)
    _due(db, 10)
    insert(db, expires_at="2001-01-01")
    job_in(db, "succeeded")
    _age(db, 31)
    found = row(
        db, "select promoted, rescued, expired, removed, merged > 0 from pgqueue.maintain()"
    )

    assert found == (1, 1, 1, 1, True)
    assert status(db, lost) == "queued"
    again = row(db, "select promoted, rescued, expired, removed, merged from pgqueue.maintain()")
    assert again == (0, 0, 0, 0, 0)


def test_a_negative_limit_moves_nothing(db: Db) -> None:
    """The parts refuse it; maintain() warns once per part and answers with zeros."""
    insert(db, expires_at="2001-01-01")
    _due(db, 10)
    for part in ("promote", "expire"):
        with refused("2201W"):
            db.execute(f"select pgqueue.{part}(-1)")
    counts = row(db, "select promoted, rescued, expired, removed from pgqueue.maintain(-1)")

    assert counts == (0, 0, 0, 0)
    assert value(db, "select count(*) from pgqueue.ready") == 1
    assert value(db, "select count(*) from pgqueue.scheduled") == 1


def test_workers_are_forgotten_a_day_after_they_are_gone(db: Db) -> None:
    """The dead and the stopped; never the living, never one whose jobs were not rescued."""
    dead, stopped, alive = worker(db), worker(db), worker(db)
    worker_dies(db, dead)
    db.execute("select pgqueue.stop_worker(%s)", (stopped,))
    db.execute("select pgqueue.rescue()")
    early = value(db, "select pgqueue.forget_workers()")
    db.execute(
        """update pgqueue.workers set dead_at = dead_at - interval '25 h',
            stopped_at = stopped_at - interval '25 h'"""
    )

    assert (early, value(db, "select pgqueue.forget_workers()")) == (0, 2)
    assert column(db, "select id from pgqueue.workers") == [alive]


def test_workers_are_alike_where_each_of_a_queue_handles_what_one_of_them_does(db: Db) -> None:
    """Then it may leave the last look to the doorman; the dead and other queues do not count."""
    few = worker(db, ["a"], job_types=["x"])
    more = worker(db, ["a", "b"], job_types=["x", "y"])
    elsewhere = worker(db, ["c"], job_types=["z"])
    every = worker(db, ["b"])

    def alike(worker_id: int | None) -> object:
        return db.execute("select * from pgqueue.live_workers(%s)", (worker_id,)).fetchone()

    told = [alike(one) for one in (few, more, elsewhere, every, None)]
    worker_dies(db, few)
    without = [alike(one) for one in (few, more, every)]

    assert told == [(4, True), (4, False), (4, True), (4, False), (4, False)]
    assert without == [(3, True), (3, True), (3, False)]
