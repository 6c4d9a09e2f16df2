"""Callers whose transactions keep one snapshot: nothing is stranded, and claims refuse to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import column, place, run_one, sqlstate_of, status, value, worker

if TYPE_CHECKING:
    from tests.races.conftest import Open

_ENQUEUE = "select pgqueue.enqueue('t', p_unique_key => 'k', p_on_duplicate => 'replace')"
_COMPLETE = "select pgqueue.complete(%s, %s)"
_LEVELS = [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]


@pytest.mark.parametrize("level", _LEVELS)
def test_a_completion_with_an_old_snapshot_does_not_strand_a_follow_up(
    open_session: Open, level: psycopg.IsolationLevel
) -> None:
    """It gets 40001, and tried again it lets the follow-up go."""
    db, handler = open_session(), open_session.transaction()
    job = run_one(db, unique_key="k")
    handler.isolation_level = level
    handler.execute("select count(*) from pgqueue.jobs")
    follow_up = value(db, _ENQUEUE)
    refusal = sqlstate_of(handler, _COMPLETE, *job.owned)
    handler.rollback()
    handler.execute(_COMPLETE, job.owned)
    handler.commit()

    assert refusal == "40001"
    assert (status(db, job.job_id), status(db, follow_up)) == ("succeeded", "queued")


def test_an_enqueue_with_an_old_snapshot_does_not_make_a_second_follow_up(
    open_session: Open,
) -> None:
    """40001 says "try again"; a constraint's name would say nothing to the caller."""
    db, producer = open_session(), open_session.transaction()
    run_one(db, unique_key="k")
    producer.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    producer.execute("select count(*) from pgqueue.jobs")
    follow_up = value(db, _ENQUEUE)

    assert sqlstate_of(producer, _ENQUEUE) == "40001"
    assert place(db, follow_up) == "blocked"


@pytest.mark.parametrize("level", _LEVELS)
@pytest.mark.parametrize(
    "call",
    [
        "select * from pgqueue.claim(%(worker)s)",
        "select * from pgqueue.claim_job(%(worker)s, gen_random_uuid())",
        "select * from pgqueue.exchange(%(worker)s, '{default}', 1, null, '{}', '{}')",
        "select pgqueue.rescue()",
        "select * from pgqueue.maintain()",
    ],
)
def test_claims_and_rescue_refuse_to_run_with_one_snapshot(
    open_session: Open, call: str, level: psycopg.IsolationLevel
) -> None:
    """A claim that does not see its worker stopped could commit a job behind the last rescue."""
    db, caller = open_session(), open_session.transaction()
    by = worker(db)
    caller.isolation_level = level
    with pytest.raises(psycopg.Error) as caught:
        caller.execute(call, {"worker": by})

    assert caught.value.sqlstate == "PQ006"
    assert "read committed" in str(caught.value.diag.message_hint)


def test_inserts_run_at_any_level(open_session: Open) -> None:
    """Producers choose the level of their business transactions."""
    db, producer = open_session(), open_session.transaction()
    producer.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    producer.execute("insert into pgqueue.jobs (job_type) values ('t')")
    producer.execute("select pgqueue.enqueue('t')")
    producer.commit()

    assert column(db, "select count(*) from pgqueue.ready") == [2]
