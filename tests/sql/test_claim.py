"""claim() and claim_job(): which jobs, in which order, for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    insert_many,
    place,
    refused,
    run_one,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.sqljobs import Db


def test_order_is_by_priority_then_arrival(db: Db) -> None:
    """All of one priority before any of the next."""
    db.execute(
        """insert into pgqueue.jobs (job_type, priority)
           select 'n' || n, (n * 7) % 4 from generate_series(1, 40) n"""
    )
    found = [(job.priority, int(job.job_type[1:])) for job in claim(db, worker(db))]

    assert found == sorted(((n * 7) % 4, n) for n in range(1, 41))


def test_priority_comes_before_the_order_of_the_queues(db: Db) -> None:
    """Within one priority the queues come in the order in which the worker names them."""
    for queue in ("a", "b"):
        for priority in (1, 0):
            insert(db, f"{queue}{priority}", queue=queue, priority=priority)
    found = [job.job_type for job in claim(db, worker(db), queues=["b", "a"])]

    assert found == ["b0", "a0", "b1", "a1"]


def test_only_the_named_queues_are_claimed(db: Db) -> None:
    """A job of another queue stays."""
    insert(db, "mine", queue="mine")
    other = insert(db, "other", queue="other")

    assert [job.job_type for job in claim(db, worker(db), queues=["mine"])] == ["mine"]
    assert place(db, other) == "ready"


@pytest.mark.parametrize("queues", [[], ["nothing here"]])
def test_a_claim_of_nothing_is_empty(db: Db, queues: list[str]) -> None:
    """And no error."""
    insert(db)

    assert claim(db, worker(db), queues=queues) == []


def test_a_queue_named_twice_is_claimed_once(db: Db) -> None:
    """The second mention would find rows that the first has locked: they are its own."""
    insert_many(db, 5)
    found = claim(db, worker(db), 10, queues=["default", "default"])

    assert len({job.job_id for job in found}) == len(found) == 5


def test_a_claim_never_exceeds_its_limit(db: Db) -> None:
    """Over several queues and priorities, for limits around the number of jobs."""
    db.execute(
        """insert into pgqueue.jobs (job_type, queue, priority)
           select 't', 'q' || n % 3, n % 4 from generate_series(1, 120) n"""
    )
    by = worker(db)
    found = [len(claim(db, by, limit, queues=["q0", "q1", "q2"])) for limit in (1, 7, 40, 100, 100)]

    assert found == [1, 7, 40, 72, 0]


@pytest.mark.parametrize("limit", [0, -1, 10_001, None])
def test_a_limit_that_makes_no_sense_is_refused(db: Db, limit: int | None) -> None:
    """PQ006, and nothing is claimed."""
    job_id = insert(db)
    by = worker(db)
    with refused("PQ006"):
        claim(db, by, limit)

    assert place(db, job_id) == "ready"


def test_a_worker_with_job_types_gets_only_those(db: Db) -> None:
    """Jobs of other types stay in their place, also when they are at the head."""
    other = insert(db, "other")
    insert(db, "mine")
    found = claim(db, worker(db, job_types=["mine", "more"]))

    assert [job.job_type for job in found] == ["mine"]
    assert place(db, other) == "ready"


def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(db: Db) -> None:
    """Pausing one queue leaves the others alone; producers go on inserting."""
    by = worker(db)
    db.execute("select pgqueue.pause_queue('a', 'deploy')")
    insert(db, "a", queue="a")
    insert(db, "b", queue="b")

    assert [job.job_type for job in claim(db, by, queues=["a", "b"])] == ["b"]
    db.execute("select pgqueue.resume_queue('a')")
    assert [job.job_type for job in claim(db, by, queues=["a", "b"])] == ["a"]


def test_a_paused_or_disabled_type_is_held_back(db: Db) -> None:
    """Jobs that were inserted before; resuming and enabling hand them out again."""
    by = worker(db)
    for job_type in ("paused", "disabled", "free"):
        insert(db, job_type)
    db.execute("select pgqueue.pause_job_type('paused')")
    db.execute("select pgqueue.set_job_type('disabled', p_enabled => false)")

    assert [job.job_type for job in claim(db, by)] == ["free"]
    db.execute("select pgqueue.resume_job_type('paused')")
    assert [job.job_type for job in claim(db, by)] == ["paused"]
    db.execute("select pgqueue.set_job_type('disabled', p_enabled => true)")
    assert [job.job_type for job in claim(db, by)] == ["disabled"]


def test_claiming_one_job_by_id_ignores_pauses_but_not_expiry(db: Db) -> None:
    """An operator's `run` of one job; a job past expires_at must not start, whoever asks."""
    held, late = insert(db), insert(db, expires_at="2001-01-01")
    db.execute("select pgqueue.pause_queue('default')")
    by = worker(db)
    found = [
        db.execute("select job_id from pgqueue.claim_job(%s, %s)", (by, job_id)).fetchone()
        for job_id in (held, late)
    ]

    assert found == [(held,), None]


def test_an_expired_job_is_not_claimed(db: Db) -> None:
    """Before anybody swept it away."""
    insert(db, "late", expires_at="2001-01-01")
    insert(db, "in time", expires_at="2100-01-01")

    assert [job.job_type for job in claim(db, worker(db))] == ["in time"]


def test_tokens_grow_and_are_never_reused(db: Db) -> None:
    """Also across release and rescue of the same job."""
    insert_many(db, 3)
    by = worker(db)
    tokens = []
    for _ in range(3):
        batch = claim(db, by)
        tokens += [job.token for job in batch]
        for job in batch:
            db.execute("select pgqueue.release(%s, %s)", job.owned)

    assert len(set(tokens)) == 9
    assert sorted(tokens) == tokens


@pytest.mark.parametrize("how", ["unknown", "stopped", "lease ended", "declared dead"])
def test_a_worker_that_is_gone_may_not_claim(db: Db, how: str) -> None:
    """PQ004: register again. Neither by queue nor by id, and no heartbeat brings it back."""
    job_id = insert(db)
    by = worker(db)
    match how:
        case "unknown":
            by += 1000
        case "stopped":
            db.execute("select pgqueue.stop_worker(%s)", (by,))
        case "lease ended":
            worker_dies(db, by)
        case _:
            worker_dies(db, by)
            db.execute("select pgqueue.rescue()")
    with refused("PQ004"):
        claim(db, by)
    with refused("PQ004"):
        claim_this(db, job_id, by)

    assert place(db, job_id) == "ready"
    if how == "lease ended":
        db.execute("select * from pgqueue.heartbeat(%s)", (by,))
        assert len(claim(db, by)) == 1
    else:
        with refused("PQ004"):
            db.execute("select * from pgqueue.heartbeat(%s)", (by,))


def test_a_draining_worker_hears_it_with_its_heartbeat(db: Db) -> None:
    """Draining is a request: it may still claim, and its jobs stay its own."""
    by = worker(db)
    before = value(db, "select draining from pgqueue.heartbeat(%s)", by)
    db.execute("select pgqueue.drain_worker(%s)", (by,))

    assert (before, value(db, "select draining from pgqueue.heartbeat(%s)", by)) == (False, True)
    with refused("PQ004"):
        db.execute("select pgqueue.drain_worker(%s)", (by + 1000,))


def test_floors_hide_what_lies_below_them(db: Db) -> None:
    """A floor belongs to one queue and one priority; NULL and missing floors hide nothing."""
    for queue in ("a", "b"):
        for priority in (0, 1):
            insert(db, f"{queue}{priority}", queue=queue, priority=priority)
    floors: list[int | None] = [None] * 8
    floors[0 * 4 + 1] = 10**9  # queue a, priority 1
    floors[1 * 4 + 0] = 10**9  # queue b, priority 0
    by = worker(db)

    assert [j.job_type for j in claim(db, by, queues=["a", "b"], floors=floors)] == ["a0", "b1"]
    assert [j.job_type for j in claim(db, by, queues=["a", "b"], floors=[0])] == ["b0", "a1"]


def test_a_floor_at_the_last_position_hides_nothing_that_comes_later(db: Db) -> None:
    """Positions only grow: the next job lies at or above one past the last that was seen."""
    by = worker(db)
    insert(db)
    (first,) = claim(db, by)
    insert(db)
    db.execute("select pgqueue.release(%s, %s)", first.owned)
    found = claim(db, by, floors=[0, first.pos + 1, 0, 0])

    assert len(found) == 2


def test_a_job_committed_late_below_the_floor_is_found_without_floors(connect: Connect) -> None:
    """Its position was drawn before those already claimed."""
    late, db = connect(autocommit=False), connect()
    insert(late, "late")
    insert(db, "early")
    by = worker(db)
    (early,) = claim(db, by)
    late.commit()
    floors = [0, early.pos + 1, 0, 0]

    assert claim(db, by, floors=floors) == []
    assert [job.job_type for job in claim(db, by)] == ["late"]


def test_a_job_of_an_open_transaction_is_not_claimed(connect: Connect) -> None:
    """It becomes visible with the producer's commit."""
    producer, db = connect(autocommit=False), connect()
    insert(producer)
    by = worker(db)
    before = claim(db, by)
    producer.commit()

    assert (len(before), len(claim(db, by))) == (0, 1)


def test_a_claim_that_rolls_back_leaves_the_jobs_ready(connect: Connect) -> None:
    """A worker that dies in its claim takes nothing along."""
    db, other = connect(), connect(autocommit=False)
    job_id = insert(db)
    by = worker(db)
    claim(other, by)
    other.rollback()

    assert place(db, job_id) == "ready"
    assert claim(db, by)[0].attempt == 1


def test_a_job_of_a_claim_in_flight_is_skipped(connect: Connect) -> None:
    """Claims never wait for each other."""
    db, other = connect(), connect(autocommit=False)
    insert_many(db, 4)
    by = worker(db)
    mine = claim(other, by, 2)
    found = claim(db, by)

    assert {job.job_id for job in mine}.isdisjoint(job.job_id for job in found)
    assert (len(mine), len(found)) == (2, 2)
    other.commit()


def test_exchange_reports_and_claims_in_one_call(db: Db) -> None:
    """Answers and claimed jobs come back together; refused and status say which is which."""
    insert_many(db, 5)
    by = worker(db)
    first = claim(db, by, 3)
    rows = db.execute(
        "select refused, status, job_id from pgqueue.exchange(%s, %s, 5, null, %s, %s, %s)",
        (
            by,
            ["default"],
            [job.job_id for job in first],
            [first[0].token, first[1].token + 1000, first[2].token],
            [None, None, '{"do": "cancel"}'],
        ),
    ).fetchall()

    assert rows[:2] == [("lease_lost", None, first[1].job_id), (None, "cancelled", first[2].job_id)]
    assert [row[:2] for row in rows[2:]] == [(None, None)] * 2
    assert place(db, first[0].job_id) == "finished"
    db.execute("select pgqueue.complete(%s, %s)", first[1].owned)


def test_a_job_that_was_claimed_by_id_is_not_claimed_again(db: Db) -> None:
    """No row is the answer: it is not ready."""
    job = run_one(db)
    by = worker(db)

    assert db.execute("select * from pgqueue.claim_job(%s, %s)", (by, job.job_id)).fetchall() == []
    assert column(db, "select token from pgqueue.running") == [job.token]


def test_a_claim_that_names_no_queue_takes_the_workers_own(db: Db) -> None:
    """What the worker registered for, not `default`."""
    insert(db)
    wanted = insert(db, queue="own")
    by = value(db, "select pgqueue.register_worker('w', '{own,other}')")
    claimed = column(db, "select job_id from pgqueue.claim(%s, p_limit => 10)", by)

    assert claimed == [wanted]
