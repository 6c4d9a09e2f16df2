"""Turns between tenants: who waits for whom, and for how many jobs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    refused,
    report,
    row,
    value,
    worker,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_ONE = """create function pg_temp.one(t text) returns void language sql
    as $$ insert into pgqueue.jobs (job_type, tenant_id) values ('t', t) $$"""


@pytest.fixture
def fair(db: Db) -> Db:
    """A connection; the queue default is fair."""
    db.execute("select pgqueue.set_fairness('default')")
    return db


def _enqueue(db: Db, tenant: str | None, count: int) -> None:
    db.execute(
        "insert into pgqueue.jobs (job_type, tenant_id) select 't', %s from generate_series(1, %s)",
        (tenant, count),
    )


def _order(db: Db, limit: int = 10_000) -> list[str | None]:
    """The tenants of what waits, in the order in which it is claimed."""
    return [job.tenant_id for job in claim(db, worker(db, lease="1 hour"), limit)]


def _finish_half(db: Db, count: int) -> None:
    """Claim and report so many, as time passes."""
    report(db, claim(db, worker(db, lease="1 hour"), count))
    db.execute("select pgqueue.mark_lanes()")


def test_a_single_job_does_not_wait_for_another_tenants_thousands(fair: Db) -> None:
    """It starts after at most two jobs of the other tenant, though 5,000 were there before."""
    _enqueue(fair, "a", 5_000)
    insert(fair, tenant_id="b")

    assert _order(fair).index("b") <= 2


def test_without_fairness_it_waits_for_all_of_them(db: Db) -> None:
    """What the test above finds in a queue that goes by arrival."""
    _enqueue(db, "a", 500)
    insert(db, tenant_id="b")

    assert _order(db).index("b") == 500


@pytest.mark.parametrize("done", [0, 777, 3_000])
def test_a_single_job_waits_for_two_jobs_of_each_other_tenant_at_most(fair: Db, done: int) -> None:
    """300 tenants with 10 to 510 jobs, in bulk and in turns, at several moments of their drain."""
    fair.execute(
        "insert into pgqueue.jobs (job_type, tenant_id)"
        " select 't', mod(n, 300) from generate_series(1, 3000) n"
    )
    for tenant in range(0, 300, 50):
        _enqueue(fair, str(tenant), 500)
    if done:
        _finish_half(fair, done)
    insert(fair, tenant_id="single")
    _enqueue(fair, "late", 500)
    order = _order(fair)
    ahead = Counter(order[: order.index("single")])

    assert len(order) == 6_501 - done
    assert max(ahead.values(), default=0) <= 2


def test_shares_follow_weights(fair: Db) -> None:
    """Over 10,000 jobs of four tenants with weights 1, 2, 5 and 0.5, within three percent."""
    weights = {"a": 1.0, "b": 2.0, "c": 5.0, "d": 0.5}
    for tenant, weight in weights.items():
        fair.execute("select pgqueue.set_tenant_weight(%s, %s)", (tenant, weight))
    for tenant in weights:
        _enqueue(fair, tenant, 6_000)
    _enqueue(fair, "c", 2_000)
    shares = Counter(_order(fair, 8_500))

    for tenant, weight in weights.items():
        assert shares[tenant] == pytest.approx(weight * 1_000, rel=0.03)


def test_jobs_without_a_tenant_are_one_tenant(fair: Db) -> None:
    """They take turns with the others."""
    _enqueue(fair, None, 100)
    _enqueue(fair, "a", 100)
    shares = Counter(_order(fair, 20))

    assert abs(shares[None] - shares["a"]) <= 2


def test_a_tenants_own_jobs_stay_in_order(fair: Db) -> None:
    """By priority, then arrival, as the promise has it, in bulk and one by one."""
    _enqueue(fair, "b", 50)
    ids = [insert(fair, tenant_id="a") for _ in range(30)]
    found = [job.job_id for job in claim(fair, worker(fair), 1_000) if job.tenant_id == "a"]

    assert found == ids


def test_newcomers_come_in_order_of_arrival(fair: Db) -> None:
    """Single jobs of 40 tenants, behind the same head."""
    _enqueue(fair, "a", 10)
    ids = [insert(fair, tenant_id=f"t{n}") for n in range(40)]
    found = [job.job_id for job in claim(fair, worker(fair), 100) if job.tenant_id != "a"]

    assert found == ids


def test_a_tenant_that_comes_back_has_saved_up_nothing(fair: Db) -> None:
    """Who waited for nothing while others worked begins where they are now."""
    _enqueue(fair, "a", 1_000)
    _finish_half(fair, 500)
    _enqueue(fair, "b", 500)
    shares = Counter(_order(fair, 200))

    assert abs(shares["a"] - shares["b"]) <= 3


def test_a_lane_that_ran_empty_begins_above_what_was_claimed(fair: Db) -> None:
    """Floors stay of use: what comes later lies at a later position."""
    _enqueue(fair, "a", 300)
    last = claim(fair, worker(fair), 1_000)[-1].pos
    fair.execute("select pgqueue.mark_lanes()")
    insert(fair, tenant_id="b")

    assert value(fair, "select pos > %s from pgqueue.ready", last)


def test_no_position_lies_beyond_the_last_one_drawn(fair: Db) -> None:
    """Whatever the weights: turned off, newer jobs so line up behind older ones."""
    fair.execute("select pgqueue.set_tenant_weight('a', 0.125)")
    for _ in range(20):
        insert(fair, tenant_id="a")
        insert(fair, tenant_id="b")
        _enqueue(fair, "a", 10)

    assert value(
        fair,
        "select max(r.pos) <= max(s.last_value) from pgqueue.ready r, pgqueue.position_seq s",
    )


def _retried(db: Db) -> UUID:
    (job,) = claim(db, worker(db), 1)
    db.execute("select pgqueue.fail(%s, %s, p_retry_after => '0')", job.owned)
    return job.job_id


def _released(db: Db) -> UUID:
    (job,) = claim(db, worker(db), 1)
    db.execute("select pgqueue.release(%s, %s)", job.owned)
    return job.job_id


def _promoted(db: Db) -> UUID:
    job_id = insert(db, tenant_id="b", run_at="2020-01-01")
    with db.transaction():
        db.execute(
            "update pgqueue.jobs set run_at = now() + interval '1 hour' where id = %s", (job_id,)
        )
        db.execute("update pgqueue.scheduled set due_at = now()")
        db.execute("select pgqueue.promote()")
    return job_id


def _reprioritised(db: Db) -> UUID:
    job_id = insert(db, tenant_id="b", priority=2)
    db.execute("select pgqueue.reprioritise(%s, 1)", (job_id,))
    return job_id


def _redriven(db: Db) -> UUID:
    (job,) = claim(db, worker(db), 1)
    db.execute("select pgqueue.fail(%s, %s, p_retryable => false)", job.owned)
    db.execute("select pgqueue.redrive()")
    return job.job_id


def _depended(db: Db) -> UUID:
    parent = insert(db, tenant_id="b", queue="other")
    job_id = insert(db, tenant_id="b", depends_on=(parent,))
    report(db, [claim_this(db, parent)])
    return job_id


def _followed_up(db: Db) -> UUID:
    holder = insert(db, tenant_id="b", queue="other", unique_key="k")
    running = claim_this(db, holder)
    job_id: UUID = value(
        db,
        "select pgqueue.enqueue('t', p_queue => 'default', p_tenant_id => 'b',"
        " p_unique_key => 'k', p_on_duplicate => 'replace')",
    )
    report(db, [running])
    return job_id


def _moved(db: Db) -> UUID:
    job_id = insert(db, tenant_id="b", queue="other")
    db.execute("update pgqueue.jobs set queue = 'default' where id = %s", (job_id,))
    return job_id


@pytest.mark.parametrize(
    "way",
    [_retried, _released, _promoted, _reprioritised, _redriven, _depended, _followed_up, _moved],
)
def test_every_way_into_the_queue_takes_a_turn(fair: Db, way: Callable[[Db], UUID]) -> None:
    """A job that comes back, or comes from elsewhere, does not stand behind another's thousand."""
    if way in {_retried, _released, _redriven}:
        insert(fair, tenant_id="b")
    else:
        _enqueue(fair, "a", 1_000)
    job_id = way(fair)
    if way in {_retried, _released, _redriven}:
        _enqueue(fair, "a", 1_000)
        again = way(fair)
        assert again == job_id
    found = [job.job_id for job in claim(fair, worker(fair), 1_000)]

    assert found.index(job_id) <= 2


def test_a_parent_keeps_its_place_when_it_is_marked(fair: Db) -> None:
    """Its row is written anew for its dependents; its position stays."""
    _enqueue(fair, "a", 10)
    parent = insert(fair, tenant_id="b")
    _enqueue(fair, "b", 10)
    query = "select pos, tenant_id from pgqueue.ready where job_id = %s"
    before = row(fair, query, parent)
    insert(fair, tenant_id="b", depends_on=(parent,))

    assert row(fair, query, parent) == before


def test_turning_it_on_places_what_waits(db: Db) -> None:
    """2,000 jobs of one tenant, and 3 of another behind them, which move to the front."""
    _enqueue(db, "a", 2_000)
    _enqueue(db, "b", 3)
    db.execute("select pgqueue.set_fairness('default')")
    insert(db, tenant_id="c")
    order = _order(db)

    assert len(order) == 2_004
    assert [n for n, tenant in enumerate(order) if tenant == "b"][-1] <= 6
    assert order.index("c") <= 4


def test_turning_it_on_and_off_never_puts_a_job_below_a_floor(db: Db) -> None:
    """A worker that has seen part of the queue finds the rest from where it was."""
    by = worker(db, lease="1 hour")
    _enqueue(db, "a", 300)
    floor = claim(db, by, 100)[-1].pos + 1
    found = 100
    for turn in (True, False, True, False):
        db.execute("select pgqueue.set_fairness('default', %s)", (turn,))
        _enqueue(db, "b", 100)
        claimed = claim(db, by, 50, floors=[0, floor, 0, 0])
        found += len(claimed)
        floor = claimed[-1].pos + 1
    rest = claim(db, by, 1_000, floors=[0, floor, 0, 0])

    assert found + len(rest) == 700


def test_turned_off_newer_jobs_line_up_behind(fair: Db) -> None:
    """Those that wait keep their places."""
    _enqueue(fair, "a", 100)
    _enqueue(fair, "b", 100)
    fair.execute("select pgqueue.set_fairness('default', false)")
    insert(fair, tenant_id="c")

    assert _order(fair).index("c") == 200


def test_other_queues_go_by_arrival(fair: Db) -> None:
    """And their rows carry no tenant: the index of the tenants has nothing of them."""
    for tenant in ("a", "a", "b"):
        insert(fair, tenant_id=tenant, queue="other")

    assert column(fair, "select tenant_id from pgqueue.ready") == [None] * 3
    assert value(fair, "select bool_and(mod(pos, 65536) = 1) from pgqueue.ready")


def test_without_a_fair_queue_nothing_is_there_to_pay_for(db: Db) -> None:
    """Trigger and index come with the first fair queue, go with the last, and drift() agrees."""
    query = """select (select count(*) from pg_trigger where tgname = 'ready_take_turn')
        + (select count(*) from pg_class where relname = 'ready_tenant_idx')"""
    seen = []
    for queue, on in (("a", True), ("b", True), ("a", False), ("b", False)):
        db.execute("select pgqueue.set_fairness(%s, %s)", (queue, on))
        seen.append((value(db, query), db.execute("select * from pgqueue.drift()").fetchall()))

    assert seen == [(2, []), (2, []), (2, []), (0, [])]


@pytest.mark.parametrize("weight", [0, 0.1, 101, float("nan"), float("inf"), None])
def test_a_weight_is_between_an_eighth_and_a_hundred(db: Db, weight: float | None) -> None:
    """Beyond that a step has no room, or too much."""
    with refused("PQ006"):
        db.execute("select pgqueue.set_tenant_weight('a', %s)", (weight,))


def test_marks_are_kept_for_seconds_and_written_when_something_moved(fair: Db) -> None:
    """Nothing happens: nothing is written."""
    fair.execute("select pgqueue.mark_lanes()")
    idle = value(fair, "select max(mark) from pgqueue.lane_marks")
    fair.execute("select pgqueue.mark_lanes()")
    same = value(fair, "select max(mark) from pgqueue.lane_marks")
    insert(fair)
    fair.execute("update pgqueue.lane_marks set marked_at = marked_at - interval '1 minute'")
    fair.execute("select pgqueue.mark_lanes()")
    kept = column(fair, "select count(*) from pgqueue.lane_marks group by queue, priority")

    assert same == idle
    assert kept == [2] * 4


def _buffers(db: Db, query: str) -> int:
    found = row(db, f"explain (analyze, buffers, format json) {query}")[0][0]["Plan"]
    return int(found["Shared Hit Blocks"]) + int(found["Shared Read Blocks"])


def test_an_insert_costs_the_same_behind_any_number_of_tenants_and_jobs(fair: Db) -> None:
    """Counted buffers: an empty lane, and 20,000 jobs of 10,000 tenants without statistics."""
    fair.execute(_ONE)
    for n in range(8):
        _buffers(fair, f"select pg_temp.one('warm {n}')")
    before = _buffers(fair, "select pg_temp.one('new')")
    fair.execute(
        "insert into pgqueue.jobs (job_type, tenant_id)"
        " select 't', mod(n, 10000) from generate_series(1, 20000) n"
    )
    _buffers(fair, "select pg_temp.one('x')")
    newcomer, known = (_buffers(fair, f"select pg_temp.one('{t}')") for t in ("fresh", "77"))

    assert max(newcomer, known) <= 1.6 * before


def test_a_held_snapshot_costs_an_insert_what_was_claimed_since_the_last_mark(
    connect: Connect,
) -> None:
    """10,000 dead entries before the head: an INSERT begins behind them."""
    db, holder = connect(), connect(autocommit=False)
    db.execute("select pgqueue.set_fairness('default')")
    db.execute(_ONE)
    _enqueue(db, "a", 11_000)
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select 1 from pgqueue.ready limit 1")
    for n in range(8):
        _buffers(db, f"select pg_temp.one('warm {n}')")
    before = _buffers(db, "select pg_temp.one('b')")
    claim(db, worker(db), 10_000)
    dear = _buffers(db, "select pg_temp.one('c')")
    db.execute("select pgqueue.mark_lanes()")
    after = _buffers(db, "select pg_temp.one('d')")
    holder.rollback()

    assert dear > 2 * before  # else the last line would prove nothing
    assert after <= 1.6 * before
