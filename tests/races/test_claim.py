"""Claims against each other, and against everything that changes a waiting job."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    insert_many,
    place,
    report,
    sqlstate_of,
    status,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Claimed, Db

_CLAIM = "select job_id, payload from pgqueue.claim(%s, '{default}', 10)"


def _claim_until_empty(db: Db, by: int, limit: int) -> list[Claimed]:
    found: list[Claimed] = []
    while batch := claim(db, by, limit):
        assert len(batch) <= limit
        found += batch
    return found


def test_eight_claimers_never_get_the_same_job(open_session: Open, sessions: Sessions) -> None:
    """4,000 jobs, claimed in batches of odd sizes at once: each exactly once, none left."""
    db = open_session()
    insert_many(db, 4000)
    conns = [open_session() for _ in range(8)]
    batches = sessions.together(
        [
            partial(_claim_until_empty, conn, worker(db), limit)
            for conn, limit in zip(conns, (1, 3, 7, 11, 23, 50, 97, 200), strict=True)
        ]
    )
    jobs = [job for batch in batches for job in batch]

    assert len(jobs) == len({job.job_id for job in jobs}) == 4000
    assert len({job.token for job in jobs}) == 4000


def test_each_claimer_gets_its_jobs_in_order(open_session: Open, sessions: Sessions) -> None:
    """What one claimer gets is in order of arrival, whoever else is claiming."""
    db = open_session()
    insert_many(db, 1000)
    batches = sessions.together(
        [partial(_claim_until_empty, open_session(), worker(db), 5) for _ in range(4)]
    )

    for batch in batches:
        positions = [job.pos for job in batch]

        assert positions == sorted(positions)


@pytest.mark.parametrize("by_id", [True, False])
def test_a_claim_never_hands_out_a_payload_that_was_replaced(
    open_session: Open, sessions: Sessions, *, by_id: bool
) -> None:
    """The update is in flight when the claim looks: it gets the new payload, or nothing yet."""
    db, producer = open_session(), open_session.transaction()
    job_id = insert(db, payload={"v": "old"})
    by = worker(db)
    producer.execute("""update pgqueue.jobs set payload = '{"v": "new"}'""")
    if by_id:
        claiming = sessions.start(
            open_session(), "select payload from pgqueue.claim_job(%s, %s)", by, job_id
        ).blocked()
        producer.commit()
        during = claiming.rows()
    else:
        during = claim(db, by)  # type: ignore[assignment]
        producer.commit()

    assert during == []
    assert [job.payload for job in claim(db, by)] == ['{"v": "new"}']


def test_an_update_that_waits_for_a_claim_is_refused(
    open_session: Open, sessions: Sessions
) -> None:
    """PQ002: the worker has the old payload, and the caller learns it."""
    db, claimer = open_session(), open_session.transaction()
    insert(db, payload={"v": "old"})
    (job,) = claim(claimer, worker(db))
    update = sessions.start(open_session(), """update pgqueue.jobs set payload = '{"v": "new"}'""")
    update.blocked()
    claimer.commit()

    assert update.sqlstate() == "PQ002"
    assert value(db, "select payload from pgqueue.jobs") == {"v": "old"}
    assert job.payload == '{"v": "old"}'


def test_an_update_after_a_claim_that_rolled_back_goes_through(
    open_session: Open, sessions: Sessions
) -> None:
    """The job waits again, so it may be changed."""
    db, claimer = open_session(), open_session.transaction()
    insert(db)
    claim(claimer, worker(db))
    update = sessions.start(open_session(), "update pgqueue.jobs set priority = 0").blocked()
    claimer.rollback()

    assert update.sqlstate() is None
    assert value(db, "select priority from pgqueue.ready") == 0


def test_updates_and_claims_at_random_hand_out_what_was_committed_last(
    open_session: Open, sessions: Sessions
) -> None:
    """200 jobs, replaced while two workers claim: the payload handed out is the one stored."""
    db = open_session()
    insert_many(db, 200)
    ids = column(db, "select id from pgqueue.jobs")

    def replace(conn: Db, order: list[UUID]) -> None:
        for n, job_id in enumerate(order):
            change = "update pgqueue.jobs set payload = jsonb_build_object('n', %s) where id = %s"
            assert sqlstate_of(conn, change, n, job_id) in {None, "PQ002"}

    *_, one, two = sessions.together(
        [
            partial(replace, open_session(), ids),
            partial(replace, open_session(), ids[::-1]),
            partial(_claim_until_empty, open_session(), worker(db), 3),
            partial(_claim_until_empty, open_session(), worker(db), 3),
        ]
    )
    jobs = one + two + _claim_until_empty(db, worker(db), 100)
    stored = dict(db.execute("select id, payload::text from pgqueue.jobs").fetchall())

    assert {job.job_id: job.payload for job in jobs} == stored


def test_a_pause_that_has_committed_holds_for_every_later_claim(
    open_session: Open, sessions: Sessions
) -> None:
    """A claim in flight keeps its jobs; one that starts afterwards gets none."""
    db, claimer = open_session(), open_session.transaction()
    insert_many(db, 2)
    by = worker(db)
    during = claim(claimer, by, 1)
    paused = sessions.start(open_session(), "select pgqueue.pause_queue('default')").rows()
    after = claim(db, by)
    claimer.commit()

    assert (len(during), len(paused), after) == (1, 1, [])


def test_promotion_skips_what_a_cancel_holds_and_the_other_way_round(
    open_session: Open, sessions: Sessions
) -> None:
    """Either way the job ends cancelled, in one table."""
    db = open_session()
    for first in ("cancel", "promote"):
        job_id = insert(db, run_at="2100-01-01")
        db.execute("update pgqueue.scheduled set due_at = '2001-01-01'")
        holder = open_session.transaction()
        if first == "cancel":
            holder.execute("select pgqueue.cancel(%s)", (job_id,))
            moved = value(db, "select moved from pgqueue.promote()")
            holder.commit()

            assert moved == 0
        else:
            holder.execute("select pgqueue.promote()")
            cancelling = sessions.start(open_session(), "select pgqueue.cancel(%s)", job_id)
            cancelling.blocked()
            holder.commit()

            assert cancelling.value() == "cancelled"
        assert status(db, job_id) == "cancelled"


def test_a_promotion_that_rolls_back_leaves_the_job_scheduled(
    open_session: Open, sessions: Sessions
) -> None:
    """And a claim meanwhile sees nothing of it."""
    db, promoter = open_session(), open_session.transaction()
    job_id = insert(db, run_at="2100-01-01")
    db.execute("update pgqueue.scheduled set due_at = '2001-01-01'")
    promoter.execute("select pgqueue.promote()")
    claimed = claim(db, worker(db))
    promoter.rollback()

    assert claimed == []
    assert place(db, job_id) == "scheduled"


def test_four_promoters_and_four_claimers_lose_nothing(
    open_session: Open, sessions: Sessions
) -> None:
    """500 due jobs are promoted and claimed exactly once."""
    db = open_session()
    db.execute(
        """insert into pgqueue.jobs (job_type, run_at)
           select 't', '2100-01-01' from generate_series(1, 500)"""
    )
    db.execute("update pgqueue.scheduled set due_at = '2001-01-01'")

    def promote(conn: Db) -> int:
        moved = 0
        while value(conn, "select count(*) from pgqueue.scheduled"):
            moved += value(conn, "select moved from pgqueue.promote(7)")
        return moved

    def drain(conn: Db, by: int) -> list[Claimed]:
        found: list[Claimed] = []
        while (batch := claim(conn, by, 5)) or value(
            conn, "select count(*) from pgqueue.scheduled"
        ):
            found += batch
        return found

    results = sessions.together(
        [partial(promote, open_session()) for _ in range(4)]
        + [partial(drain, open_session(), worker(db)) for _ in range(4)]
    )
    # What was promoted between a claimer's last claim and its last look is left to the next.
    left = drain(db, worker(db))
    jobs = [job for batch in (*results[4:], left) for job in batch]

    assert sum(results[:4]) == 500
    assert len({job.job_id for job in jobs}) == len(jobs) == 500


def test_stopping_a_worker_waits_for_its_claim_in_flight(
    open_session: Open, sessions: Sessions
) -> None:
    """Nothing commits behind its back: the claimed job is released too."""
    db, claimer = open_session(), open_session.transaction()
    job_id = insert(db)
    by = worker(db)
    claim(claimer, by)
    stopping = sessions.start(open_session(), "select pgqueue.stop_worker(%s)", by).blocked()
    claimer.commit()

    assert stopping.value() == 1
    assert status(db, job_id) == "queued"


def test_a_claim_that_waits_for_its_workers_stop_is_refused(
    open_session: Open, sessions: Sessions
) -> None:
    """PQ004: the worker is gone when the claim may look."""
    db, stopper = open_session(), open_session.transaction()
    job_id = insert(db)
    by = worker(db)
    stopper.execute("select pgqueue.stop_worker(%s)", (by,))
    claiming = sessions.start(open_session(), _CLAIM, by).blocked()
    stopper.commit()

    assert claiming.sqlstate() == "PQ004"
    assert place(db, job_id) == "ready"


def test_a_worker_that_stops_while_it_exchanges_does_not_deadlock(
    open_session: Open, sessions: Sessions
) -> None:
    """exchange() takes the worker's lock before the rows of its report, as stop_worker() does."""
    db, reporting = open_session(), open_session.transaction()
    insert_many(db, 3)
    by = worker(db)
    jobs = claim(db, by, 2)
    reporting.execute("select pgqueue.progress(%s, %s, 50)", jobs[1].owned)
    exchanging = sessions.start(
        open_session(),
        "select * from pgqueue.exchange(%s, '{default}', 1, null, %s, %s)",
        by,
        [job.job_id for job in jobs],
        [job.token for job in jobs],
    ).blocked()
    stopping = sessions.start(open_session(), "select pgqueue.stop_worker(%s)", by).blocked()
    reporting.commit()

    assert len(exchanging.rows()) == 1
    assert stopping.value() == 1
    assert [status(db, job.job_id) for job in jobs] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("first", ["claim", "rescue"])
def test_a_worker_is_not_declared_dead_around_its_claim(
    open_session: Open, sessions: Sessions, first: str
) -> None:
    """Either the rescue passes it over, or the claim is refused: no job is left with the dead."""
    db, holder = open_session(), open_session.transaction()
    job_id = insert(db)
    by = worker(db)
    if first == "claim":
        claim(holder, by)
        worker_dies(db, by)
        rescued = value(db, "select pgqueue.rescue()")
        holder.commit()

        assert rescued == 0
        assert value(db, "select pgqueue.rescue()") == 1
    else:
        worker_dies(db, by)
        holder.execute("select pgqueue.rescue()")
        claiming = sessions.start(open_session(), _CLAIM, by).blocked()
        holder.commit()

        assert claiming.sqlstate() == "PQ004"
    assert place(db, job_id) == "ready"


def test_a_worker_that_reports_while_others_claim_finishes_each_job_once(
    open_session: Open, sessions: Sessions
) -> None:
    """Six workers exchange batches until 1,500 jobs are done."""
    db = open_session()
    insert_many(db, 1500)

    def work(conn: Db, by: int) -> int:
        done = 0
        while batch := claim(conn, by, 20):
            assert report(conn, batch) == {}
            done += len(batch)
        return done

    done = sessions.together([partial(work, open_session(), worker(db)) for _ in range(6)])

    assert sum(done) == 1500
    assert value(db, "select count(*) from pgqueue.finished where status = 'succeeded'") == 1500
