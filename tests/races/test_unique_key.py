"""Duplicates in a race: every caller gets an id, one job has the key, no request is lost."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    place,
    report,
    run_one,
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
    from tests.support.sqljobs import Db

_CALLERS = 32
_ENQUEUE = "select pgqueue.enqueue('t', %s, p_unique_key => %s, p_on_duplicate => %s)"


def _enqueue(db: Db, payload: object, on_duplicate: str = "ignore", key: str = "k") -> UUID:
    found: UUID = value(db, _ENQUEUE, json.dumps(payload), key, on_duplicate)
    return found


@pytest.mark.parametrize("on_duplicate", ["ignore", "replace", "merge"])
def test_32_callers_with_one_key_get_one_job(
    open_session: Open, sessions: Sessions, on_duplicate: str
) -> None:
    """Distinct ids per key = 1, callers without an id = 0; merged, no request is missing."""
    conns = [open_session() for _ in range(_CALLERS)]
    ids = sessions.together(
        [partial(_enqueue, conn, {"n": [n]}, on_duplicate) for n, conn in enumerate(conns)]
    )
    (payload,) = column(conns[0], "select payload from pgqueue.jobs")

    assert len(set(ids)) == 1
    if on_duplicate == "merge":
        assert sorted(payload["n"]) == list(range(_CALLERS))


def test_callers_get_an_id_when_the_winner_rolls_back(
    open_session: Open, sessions: Sessions
) -> None:
    """They wait for it, then one of them wins."""
    winner = open_session.transaction()
    ghost = _enqueue(winner, {"n": "ghost"})
    waiting = [
        sessions.start(open_session(), _ENQUEUE, json.dumps({"n": n}), "k", "replace")
        for n in range(8)
    ]
    for one in waiting:
        one.blocked()
    winner.rollback()
    ids = {one.value() for one in waiting}

    assert len(ids) == 1
    assert ghost not in ids


def test_callers_that_wait_for_the_winner_are_served_by_it(
    open_session: Open, sessions: Sessions
) -> None:
    """Its commit makes their requests duplicates."""
    db, winner = open_session(), open_session.transaction()
    first = _enqueue(winner, {"n": ["winner"]})
    waiting = [
        sessions.start(open_session(), _ENQUEUE, json.dumps({"n": [n]}), "k", "merge").blocked()
        for n in range(4)
    ]
    winner.commit()

    assert {one.value() for one in waiting} == {first}
    assert len(value(db, "select payload -> 'n' from pgqueue.jobs")) == 5


def test_one_idempotency_key_in_32_transactions_is_one_job(
    open_session: Open, sessions: Sessions
) -> None:
    """Also as a plain INSERT ON CONFLICT DO NOTHING."""
    statement = """insert into pgqueue.jobs (job_type, idempotency_key) values ('t', 'i')
        on conflict do nothing"""
    conns = [open_session() for _ in range(_CALLERS)]
    sessions.together([partial(conn.execute, statement) for conn in conns])

    assert value(conns[0], "select count(*) from pgqueue.jobs") == 1
    assert value(conns[0], "select count(*) from pgqueue.ready") == 1


def test_a_replace_that_waits_for_its_holders_end_makes_a_new_job(
    open_session: Open, sessions: Sessions
) -> None:
    """The completion gives the key back while the caller waits for it."""
    db, completing = open_session(), open_session.transaction()
    holder = run_one(db, unique_key="k")
    completing.execute("select pgqueue.complete(%s, %s)", holder.owned)
    replacing = sessions.start(open_session(), _ENQUEUE, '{"n": 1}', "k", "replace").blocked()
    completing.commit()
    new = replacing.value()

    assert new != holder.job_id
    assert status(db, new) == "queued"
    assert column(db, "select id from pgqueue.jobs where unique_key = 'k'") == [new]


def test_a_completion_that_waits_for_a_follow_up_lets_it_go(
    open_session: Open, sessions: Sessions
) -> None:
    """The request came in the last moment: it is not orphaned behind a finished job."""
    db, replacing = open_session(), open_session.transaction()
    holder = run_one(db, unique_key="k")
    follow_up = _enqueue(replacing, {"n": 1}, "replace")
    completing = sessions.start(
        open_session(), "select pgqueue.complete(%s, %s)", *holder.owned
    ).blocked()
    replacing.commit()

    assert completing.value() == "succeeded"
    assert status(db, follow_up) == "queued"
    assert column(db, "select id from pgqueue.jobs where unique_key = 'k'") == [follow_up]


def test_a_replace_that_waits_for_a_claim_makes_a_follow_up(
    open_session: Open, sessions: Sessions
) -> None:
    """The worker has the old payload; the new one runs afterwards."""
    db, claiming = open_session(), open_session.transaction()
    holder = insert(db, unique_key="k", payload={"n": 0})
    (job,) = claim(claiming, worker(db))
    replacing = sessions.start(open_session(), _ENQUEUE, '{"n": 1}', "k", "replace").blocked()
    claiming.commit()
    follow_up = replacing.value()

    assert job.job_id == holder
    assert (place(db, holder), place(db, follow_up)) == ("running", "blocked")


def test_replaces_against_finishing_workers_lose_no_request(
    open_session: Open, sessions: Sessions
) -> None:
    """Six producers and three workers on two keys: every request is in a payload that ran."""
    db = open_session()
    rounds = 40
    running = [True]
    seen: list[dict[str, Any]] = []

    def produce(conn: Db, name: int) -> list[UUID]:
        return [
            _enqueue(conn, {"n": [f"{name}.{n}"]}, "merge", key=f"k{n % 2}") for n in range(rounds)
        ]

    def work(conn: Db, by: int) -> None:
        while running[0] or value(conn, "select count(*) from pgqueue.ready"):
            batch = claim(conn, by, 2)
            seen.extend(json.loads(job.payload) for job in batch)
            report(conn, batch)

    def produce_all(conns: list[Db]) -> list[list[UUID]]:
        try:
            return sessions.together([partial(produce, conn, n) for n, conn in enumerate(conns)])
        finally:
            running[0] = False

    producers = [open_session() for _ in range(6)]
    workers = [open_session() for _ in range(3)]
    sessions.together(
        [partial(produce_all, producers)] + [partial(work, conn, worker(db)) for conn in workers]
    )
    ran = sorted(n for payload in seen for n in payload["n"])

    assert ran == sorted(f"{name}.{n}" for name in range(6) for n in range(rounds))
    assert value(db, "select count(*) from pgqueue.blocked") == 0


def test_calls_with_the_same_keys_in_opposite_orders_do_not_deadlock(
    open_session: Open, sessions: Sessions
) -> None:
    """enqueue_many sorts by unique key, whatever the idempotency keys say."""
    one, two = open_session(), open_session()
    codes = []
    for n in range(25):
        keys = [f"{n}.{i}" for i in range(20)]

        def many(conn: Db, given: list[str], tag: str) -> str | None:
            jobs = [
                {"job_type": "t", "unique_key": key, "idempotency_key": f"{tag}.{at:02}.{key}"}
                for at, key in enumerate(given)
            ]
            call = "select count(*) from pgqueue.enqueue_many(%s, 'replace')"
            return sqlstate_of(conn, call, json.dumps(jobs))

        codes += sessions.together(
            [partial(many, one, keys, "a"), partial(many, two, keys[::-1], "b")]
        )

    assert set(codes) == {None}
    assert value(one, "select count(*) from pgqueue.jobs") == 500


def test_replacing_a_batch_while_it_completes_does_not_deadlock(
    open_session: Open, sessions: Sessions
) -> None:
    """Both lock the holders' rows in the order of their keys, which is not that of their ids."""
    db, one, two = open_session(), open_session(), open_session()
    replace = "select count(*) from pgqueue.enqueue_many(%s, 'replace')"
    for n in range(15):
        jobs = [run_one(db, unique_key=f"{n}.{9 - i}") for i in range(10)]
        requests = json.dumps([{"job_type": "t", "unique_key": f"{n}.{i}"} for i in range(10)])
        refused, code = sessions.together(
            [
                partial(report, one, jobs),
                partial(sqlstate_of, two, replace, requests),
            ]
        )

        assert (refused, code) == ({}, None)
    assert value(db, "select count(*) from pgqueue.blocked") == 0
    assert value(db, "select count(*) from pgqueue.ready") == 150


_ENDS = {
    "report": "select count(*) from pgqueue.report(%(ids)s, %(tokens)s, %(failures)s)",
    "rescue": "select pgqueue.rescue()",
    "stop_worker": "select pgqueue.stop_worker(%(worker)s)",
    "purge_queue": "select pgqueue.purge_queue('default')",
    "redrive": "select pgqueue.redrive()",
}


@pytest.mark.parametrize("end", list(_ENDS))
def test_ending_many_keyed_jobs_does_not_deadlock_with_replacing_them(
    open_session: Open, sessions: Sessions, end: str
) -> None:
    """Jobs whose keys are in the opposite order of their ids, ended one after another."""
    db, one, two = open_session(), open_session(), open_session()
    replace = "select count(*) from pgqueue.enqueue_many(%s, 'replace')"
    for n in range(12):
        by = worker(db)
        for i in range(12):
            insert(db, unique_key=f"{n}.{11 - i:02}", max_attempts=1)
        jobs = claim(db, by)
        match end:
            case "rescue":
                worker_dies(db, by)
            case "stop_worker":
                db.execute("update pgqueue.running set cancel_requested_at = now()")
            case "purge_queue":
                report(db, jobs, [{"do": "snooze", "delay_seconds": 3600}] * 12)
            case "redrive":
                report(db, jobs, [{"do": "fail", "retryable": False}] * 12)
            case _:
                pass
        given = {
            "ids": [job.job_id for job in jobs],
            "tokens": [job.token for job in jobs],
            "failures": ['{"do": "fail", "retryable": false}'] * 12,
            "worker": by,
        }
        requests = json.dumps([{"job_type": "t", "unique_key": f"{n}.{i:02}"} for i in range(12)])
        codes = sessions.together(
            [
                partial(sqlstate_of, one, _ENDS[end], given),
                partial(sqlstate_of, two, replace, requests),
            ]
        )
        db.execute("select pgqueue.stop_worker(%s)", (by,))
        db.execute("select pgqueue.purge_queue('default')")

        assert codes == [None, None]


def test_a_retry_and_a_new_job_with_its_key_agree(open_session: Open, sessions: Sessions) -> None:
    """The retry waits for the insert: PQ005, or the key if that rolls back."""
    db = open_session()
    for commits in (True, False):
        key = f"k{commits}"
        job = run_one(db, unique_key=key)
        db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
        producer = open_session.transaction()
        insert(producer, unique_key=key)
        retrying = sessions.start(open_session(), "select pgqueue.retry(%s)", job.job_id).blocked()
        if commits:
            producer.commit()
        else:
            producer.rollback()

        assert retrying.sqlstate() == ("PQ005" if commits else None)
        assert status(db, job.job_id) == ("failed" if commits else "queued")
