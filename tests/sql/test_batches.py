"""Batches: what they count, when they are over, and what they enqueue for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    refused,
    report,
    row,
    sqlstate_of,
    status,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_ALL = {
    "p_on_success": {"job_type": "yes"},
    "p_on_failure": {"job_type": "no"},
    "p_on_complete": {"job_type": "over"},
}


def _open(db: Db, **given: Any) -> UUID:
    named = ", ".join(f"{name} => %s" for name in given)
    values = [json.dumps(one) if isinstance(one, dict) else one for one in given.values()]
    found: UUID = value(db, f"select pgqueue.open_batch({named})", *values)
    return found


def _close(db: Db, batch: UUID) -> None:
    db.execute("select pgqueue.close_batch(%s)", (batch,))


def _add(db: Db, batch: UUID, count: int = 1, **more: Any) -> list[UUID]:
    return [insert(db, batch_id=batch, **more) for _ in range(count)]


def _complete(db: Db, *jobs: UUID) -> None:
    for job in jobs:
        db.execute("select pgqueue.complete(%s, %s)", claim_this(db, job).owned)


def _fail(db: Db, job: UUID) -> None:
    db.execute("select pgqueue.fail(%s, %s, null, false)", claim_this(db, job).owned)


def _called(db: Db) -> list[str]:
    """Types of the callbacks that there are."""
    return sorted(
        column(db, "select job_type from pgqueue.jobs where job_type in ('yes', 'no', 'over')")
    )


def _numbers(db: Db, batch: UUID) -> tuple[Any, ...]:
    return row(
        db,
        """select status, total, waiting, running, succeeded, failed, cancelled, percent::float
        from pgqueue.batch_status where id = %s""",
        batch,
    )


def test_the_status_counts_each_job_where_it_stands(db: Db) -> None:
    """Waiting, running and the three ways to end; the numbers are there before any merge."""
    batch = _open(db)
    jobs = _add(db, batch, 6)
    _complete(db, jobs[0])
    _fail(db, jobs[1])
    db.execute("select pgqueue.cancel(%s)", (jobs[2],))
    claim_this(db, jobs[3])
    before = _numbers(db, batch)
    db.execute("select pgqueue.merge_batches()")

    assert before == ("open", 6, 2, 1, 1, 1, 1, 50.0)
    assert _numbers(db, batch) == before
    assert column(db, "select id from pgqueue.batch_log") == []


def test_success_and_completion_follow_the_last_job(db: Db) -> None:
    """Not before it, nor before the batch is closed; the jobs know their batch by its id."""
    batch = _open(db, **_ALL)
    jobs = _add(db, batch, 3)
    _complete(db, *jobs[:2])
    _close(db, batch)
    before = _called(db)
    _complete(db, jobs[2])
    headers = column(
        db, "select headers from pgqueue.jobs where job_type in ('yes', 'over') order by job_type"
    )

    assert before == []
    assert _called(db) == ["over", "yes"]
    assert headers == [
        {"batch_id": str(batch), "batch_event": "complete"},
        {"batch_id": str(batch), "batch_event": "success"},
    ]
    assert _numbers(db, batch) == ("succeeded", 3, 0, 0, 3, 0, 0, 100.0)


def test_an_open_batch_is_not_over(db: Db) -> None:
    """All that was added is done, and more may come; closing it ends it."""
    batch = _open(db, **_ALL)
    _complete(db, *_add(db, batch, 2))
    before = _called(db)
    _close(db, batch)
    _close(db, batch)

    assert (before, _called(db)) == ([], ["over", "yes"])


def test_a_batch_without_jobs_is_over_when_it_is_closed(db: Db) -> None:
    """An import of nothing has succeeded."""
    batch = _open(db, **_ALL)
    _close(db, batch)

    assert _called(db) == ["over", "yes"]
    assert _numbers(db, batch)[0] == "succeeded"


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_the_first_failure_is_told_at_once_and_once(db: Db, how: str) -> None:
    """While others still wait; a cancelled job cannot succeed either."""
    batch = _open(db, **_ALL)
    first, second, last = _add(db, batch, 3)
    if how == "failed":
        _fail(db, first)
    else:
        db.execute("select pgqueue.cancel(%s)", (first,))
    at_once = _called(db)
    _fail(db, second)
    _close(db, batch)
    _complete(db, last)

    assert at_once == ["no"]
    assert _called(db) == ["no", "over"]
    assert _numbers(db, batch)[0] == "failed"


def test_partial_counts_as_success(db: Db) -> None:
    """As it does for dependents."""
    batch = _open(db, **_ALL)
    (job,) = _add(db, batch)
    _close(db, batch)
    db.execute(
        """select pgqueue.complete(%s, %s, p_errors => '[{"code": "c"}]')""",
        claim_this(db, job).owned,
    )

    assert _called(db) == ["over", "yes"]


def test_attempts_that_do_not_finish_their_job_do_not_count(db: Db) -> None:
    """Retries, snoozes, releases and lost workers are on the way."""
    batch = _open(db, **_ALL)
    (job,) = _add(db, batch)
    _close(db, batch)
    db.execute("select pgqueue.fail(%s, %s, p_retry_after => '0')", claim_this(db, job).owned)
    db.execute("select pgqueue.snooze(%s, %s, '0')", claim_this(db, job).owned)
    db.execute("select pgqueue.release(%s, %s)", claim_this(db, job).owned)
    by = worker(db)
    claim_this(db, job, by)
    worker_dies(db, by)
    db.execute("select pgqueue.rescue()")
    before = (_called(db), _numbers(db, batch)[1:3])
    _complete(db, job)

    assert before == ([], (1, 1))
    assert _called(db) == ["over", "yes"]


def test_a_closed_batch_takes_no_job_from_outside(db: Db) -> None:
    """Nor does one that is not there; the constraint's name tells which."""
    batch = _open(db)
    _add(db, batch)
    _close(db, batch)

    with refused("23514", constraint="jobs_batch_id_open"):
        _add(db, batch)
    with refused("23503", constraint="jobs_batch_id_exists"):
        _add(db, uuid4())
    assert sqlstate_of(db, "select pgqueue.close_batch(%s)", uuid4()) == "PQ010"


def _follow_up(**more: Any) -> dict[str, Any]:
    return {"follow_ups": [{"job_type": "t", **more}]}


def test_a_follow_up_joins_the_batch_of_the_job_that_makes_it(db: Db) -> None:
    """Closed as it is: the last job of the batch is not the last one after all."""
    batch = _open(db, **_ALL)
    (job,) = _add(db, batch)
    _close(db, batch)
    report(db, [claim_this(db, job)], [_follow_up(same_batch=True)])
    before = (_called(db), _numbers(db, batch)[1:3])
    (second,) = claim(db, worker(db))
    report(db, [second], [_follow_up()])

    assert before == ([], (2, 1))
    assert _called(db) == ["over", "yes"]
    assert (
        column(db, "select batch_id from pgqueue.jobs where job_type = 't' order by id")[-1] is None
    )


def test_a_batch_that_is_over_takes_no_job_from_whoever_says_it_is_inside(db: Db) -> None:
    """Anybody can set the setting that says so; what was told of the batch stays true."""
    batch = _open(db, **_ALL)
    _complete(db, *_add(db, batch))
    _close(db, batch)
    db.execute("select set_config('pgqueue.inside_batch', %s, false)", (str(batch),))

    with refused("23514", constraint="jobs_batch_id_open"):
        _add(db, batch)
    assert _numbers(db, batch)[:2] == ("succeeded", 1)


def test_same_batch_means_nothing_to_a_job_without_one(db: Db) -> None:
    """A handler need not know how its job was enqueued."""
    report(db, [claim_this(db, insert(db))], [_follow_up(same_batch=True)])

    assert column(db, "select batch_id from pgqueue.jobs order by id") == [None, None]


def test_a_handlers_transaction_adds_jobs_to_its_batch(db: Db) -> None:
    """By its token, after the batch was closed; not by a stale one, nor without a batch."""
    batch = _open(db)
    (job,) = _add(db, batch)
    _close(db, batch)
    owned = claim_this(db, job).owned
    call = "select inserted from pgqueue.add_to_batch(%s, %s, %s)"
    jobs = json.dumps([{"job_type": "more"}, {"job_type": "more"}])
    alone = claim_this(db, insert(db))

    assert column(db, call, *owned, jobs) == [True, True]
    assert _numbers(db, batch)[1:4] == (3, 2, 1)
    assert sqlstate_of(db, call, job, owned[1] + 1000, jobs) == "PQ001"
    assert sqlstate_of(db, call, *alone.owned, jobs) == "PQ006"
    assert (
        sqlstate_of(db, "insert into pgqueue.jobs (job_type, batch_id) values ('t', %s)", batch)
        == "23514"
    )


def test_a_retry_makes_a_finished_batch_unfinished_again(db: Db) -> None:
    """Success comes late, completion not a second time."""
    batch = _open(db, **_ALL)
    job, other = _add(db, batch, 2)
    _close(db, batch)
    _complete(db, other)
    _fail(db, job)
    first = (_called(db), _numbers(db, batch)[0])
    db.execute("select pgqueue.retry(%s)", (job,))
    again = (_numbers(db, batch)[:3], value(db, "select finished_at from pgqueue.batches"))
    _complete(db, job)

    assert first == (["no", "over"], "failed")
    assert again == (("closed", 2, 1), None)
    assert _called(db) == ["no", "over", "yes"]
    assert _numbers(db, batch)[0] == "succeeded"


def test_many_jobs_of_many_batches_end_in_one_report(db: Db) -> None:
    """Each batch is counted for itself."""
    batches = [_open(db, p_on_complete={"job_type": "over"}) for _ in range(5)]
    for batch in batches:
        _add(db, batch, 4)
        _close(db, batch)
    claimed = claim(db, worker(db))
    report(db, claimed[:-1])
    before = len(_called(db))
    report(db, claimed[-1:])

    assert (before, len(_called(db))) == (4, 5)


def test_every_way_of_enqueueing_takes_a_batch(db: Db) -> None:
    """By INSERT, function and inbox; a job for later and one that waits for another, too."""
    batch = _open(db)
    parent = insert(db)
    db.execute(
        """insert into pgqueue.jobs (job_type, batch_id, run_at, depends_on)
        values ('t', %(b)s, null, null), ('t', %(b)s, '2100-01-01', null),
            ('t', %(b)s, null, array[%(p)s]::uuid[]), ('t', null, null, null)""",
        {"b": batch, "p": parent},
    )
    db.execute("select pgqueue.enqueue('t', p_batch_id => %s)", (batch,))
    jobs = [
        {"job_type": "t", "batch_id": str(batch)},
        {"job_type": "t", "batch_id": str(batch), "unique_key": "k"},
    ]
    db.execute("select pgqueue.enqueue_many(%s)", (json.dumps(jobs),))
    db.execute("insert into pgqueue.inbox (job_type, batch_id) values ('t', %s)", (batch,))
    db.execute("select pgqueue.enqueue('t', p_batch_id => %s, p_unique_key => 'k')", (batch,))

    assert _numbers(db, batch)[1:3] == (7, 7)
    assert value(db, "select count(*) from pgqueue.batch_log") == 5
    assert sqlstate_of(db, "update pgqueue.jobs set batch_id = null") == "PQ007"


def test_a_callback_that_is_refused_harms_nobody(db: Db) -> None:
    """Its type was disabled meanwhile: the job has finished, and the batch says what is missing."""
    batch = _open(db, **_ALL)
    (job,) = _add(db, batch)
    _close(db, batch)
    db.execute("select pgqueue.set_job_type('yes', p_enabled => false)")
    _complete(db, job)

    assert _called(db) == ["over"]
    assert "disabled" in value(db, "select refused ->> 'success' from pgqueue.batch_status")


def test_a_callback_that_fails_for_a_while_comes_later(db: Db) -> None:
    """An application's own trigger is in its way: maintenance tries again, the job has finished."""
    batch = _open(db, **_ALL)
    (job,) = _add(db, batch)
    _close(db, batch)
    db.execute(
        """create function pg_temp.stop() returns trigger language plpgsql as $$
        begin raise exception using errcode = '55P03', message = 'not now'; end $$;
        create trigger stop before insert on pgqueue.jobs for each row
            when (new.job_type = 'over') execute function pg_temp.stop()"""
    )
    _complete(db, job)
    meanwhile = (status(db, job), _called(db))
    db.execute("drop trigger stop on pgqueue.jobs")
    db.execute("select pgqueue.maintain()")

    assert meanwhile == ("succeeded", [])
    assert _called(db) == ["over", "yes"]


@pytest.mark.parametrize("code", ["PQ008", "PQ009"])
def test_a_callback_beyond_a_quota_or_a_wallet_holds_up_no_other(db: Db, code: str) -> None:
    """The batch is over and complete; what was refused follows when it is let in, once."""
    batch = _open(db, **_ALL)
    (job,) = _add(db, batch)
    _close(db, batch)
    db.execute(
        f"""create function pg_temp.stop() returns trigger language plpgsql as $$
        begin raise exception using errcode = '{code}', message = 'not now'; end $$;
        create trigger stop before insert on pgqueue.jobs for each row
            when (new.job_type = 'yes') execute function pg_temp.stop()"""
    )
    _complete(db, job)
    db.execute("select pgqueue.maintain()")
    meanwhile = (_called(db), value(db, "select finished_at is not null from pgqueue.batches"))
    wrong = column(db, "select problem from pgqueue.verify()")
    db.execute("drop trigger stop on pgqueue.jobs")
    db.execute("select pgqueue.maintain()")
    db.execute("select pgqueue.maintain()")

    assert (meanwhile, wrong) == ((["over"], True), [])
    assert _called(db) == ["over", "yes"]
    assert column(db, "select id from pgqueue.batch_log") == []


@pytest.mark.parametrize(
    "job",
    [
        [],
        {},
        {"job_type": 1},
        {"job_type": "t", "unique_key": "k"},
        {"job_type": "t", "headers": 1},
    ],
)
def test_a_callback_that_is_no_job_is_refused_at_once(db: Db, job: object) -> None:
    """Keys of their own would make it some other job."""
    assert (
        sqlstate_of(db, "select pgqueue.open_batch(p_on_success => %s)", json.dumps(job)) == "PQ006"
    )


def test_opening_a_batch_twice_by_its_id_opens_it_once(db: Db) -> None:
    """A call whose reply was lost can be repeated."""
    own = uuid4()

    assert [_open(db, p_id=own, p_name="a"), _open(db, p_id=own, p_name="b")] == [own, own]
    assert column(db, "select name from pgqueue.batches") == ["a"]


def test_a_batch_goes_when_its_last_job_has_gone(db: Db) -> None:
    """Retention: open ones stay, and those of which a job is kept."""
    kept, gone, opened = _open(db), _open(db), _open(db)
    for batch in (kept, gone, opened):
        _complete(db, *_add(db, batch, job_type="keep" if batch == kept else "t"))
    _close(db, kept)
    _close(db, gone)
    db.execute("select pgqueue.set_settings(p_retention => '0')")
    db.execute("select pgqueue.set_job_type('keep', p_retention => '1 day')")
    db.execute("select pgqueue.maintain()")
    db.execute("select pgqueue.maintain()")

    assert set(column(db, "select id from pgqueue.batches")) == {kept, opened}


def _work_off(db: Db, reports: int) -> None:
    by = worker(db, lease="1 hour")
    for _ in range(reports):
        report(db, claim(db, by, 100))


def test_a_large_batch_costs_its_jobs_next_to_nothing(db: Db) -> None:
    """20,000 jobs in reports of 100: a row of the log for each, and few updates of the batch."""
    batch = _open(db, **_ALL)
    db.execute(
        "insert into pgqueue.jobs (job_type, batch_id)"
        " select 't', %s from generate_series(1, 20000)",
        (batch,),
    )
    _close(db, batch)
    with db.transaction():
        before = row(db, _TOUCHED)
        _work_off(db, 150)
        far_from_the_end = row(db, _TOUCHED)
        db.execute("select pgqueue.merge_batches()")
        _work_off(db, 50)
        inserted, updated = row(db, _TOUCHED)

    assert (far_from_the_end[0] - before[0], far_from_the_end[1] - before[1]) == (150, 0)
    assert _called(db) == ["over", "yes"]
    assert (inserted - before[0], updated - before[1] <= 5) == (200, True)


_TOUCHED = """
select sum(n_tup_ins) filter (where relname = 'batch_log')::int,
    sum(n_tup_upd) filter (where relname = 'batches')::int
from pg_stat_xact_user_tables
"""
