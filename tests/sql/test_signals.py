"""Jobs that wait for a signal, and jobs with a deadline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    report,
    row,
    run_one,
    sqlstate_of,
    status,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.sqljobs import Claimed, Db


def _paused(
    db: Db, signal: str = "approved", timeout: str | None = None, on: str = "fail", **more: Any
) -> UUID:
    job = run_one(db, **more)
    db.execute(
        "select pgqueue.pause_until(%s, %s, %s, %s::interval, %s)",
        (*job.owned, signal, timeout, on),
    )
    return job.job_id


def _signal(db: Db, job_id: UUID, name: str = "approved", payload: object = None) -> bool:
    return bool(value(db, "select pgqueue.signal(%s, %s, %s)", job_id, name, json.dumps(payload)))


def _told(job: Claimed) -> dict[str, Any]:
    """What a claimed job's headers tell: payload by name."""
    signals = json.loads(job.headers or "{}").get("pgqueue.signals", [])
    return {one["name"]: one["payload"] for one in signals}


def _time_passes(db: Db) -> None:
    db.execute(
        "update pgqueue.blocked"
        " set look_at = now() - interval '1 s', timeout_at = now() - interval '1 s'"
    )
    db.execute("select * from pgqueue.maintain()")


def test_a_paused_job_waits_and_then_runs_with_what_it_was_told(db: Db) -> None:
    """No worker holds it meanwhile; its attempt is not used up; its headers stay."""
    job_id = _paused(db, headers={"a": 1})
    waiting = (status(db, job_id), claim(db, worker(db)))
    first = _signal(db, job_id, payload={"by": "Ann"})
    (job,) = claim(db, worker(db))

    assert waiting == ("blocked", [])
    assert first is True
    assert (job.attempt, json.loads(job.headers or "")["a"], _told(job)) == (
        1,
        1,
        {"approved": {"by": "Ann"}},
    )
    assert column(db, "select outcome from pgqueue.attempts") == ["paused"]


def test_a_signal_that_comes_before_the_wait_is_not_lost(db: Db) -> None:
    """While the job was queued or running: the wait is over at once."""
    job_id = insert(db)
    _signal(db, job_id, payload=1)
    job = claim_this(db, job_id)
    _signal(db, job_id, "other", 2)
    db.execute("select pgqueue.pause_until(%s, %s, 'approved')", job.owned)
    (again,) = claim(db, worker(db))

    assert _told(job) == {}
    assert _told(again) == {"approved": 1, "other": 2}


def test_another_signal_leaves_the_job_waiting(db: Db) -> None:
    """It is kept for a later wait."""
    job_id = _paused(db, "second")

    assert _signal(db, job_id, "first") is True
    assert status(db, job_id) == "blocked"


def test_the_first_signal_of_a_name_counts(db: Db) -> None:
    """A webhook that comes twice tells once; the signal of one wait does not end the next."""
    job_id = _paused(db)
    answers = [_signal(db, job_id, payload=n) for n in range(2)]
    (job,) = claim(db, worker(db))
    db.execute("select pgqueue.pause_until(%s, %s, 'approved-2')", job.owned)
    late = _signal(db, job_id, payload=3)

    assert (answers, late) == ([True, False], False)
    assert _told(job) == {"approved": 0}
    assert status(db, job_id) == "blocked"


@pytest.mark.parametrize("on", ["fail", "run"])
def test_when_the_time_is_over_the_job_fails_or_runs_without(db: Db, on: str) -> None:
    """A signal that comes after that is refused either way: what was decided stays."""
    job_id = _paused(db, timeout="2 days", on=on)
    due = value(db, "select next_due_at < now() + interval '49 hours' from pgqueue.maintain()")
    before = status(db, job_id)
    _time_passes(db)
    if on == "fail":
        errors = value(db, "select errors from pgqueue.job_status where id = %s", job_id)
        assert (status(db, job_id), errors[-1]["code"]) == ("failed", "signal_timeout")
        assert sqlstate_of(db, "select pgqueue.signal(%s, 'approved')", job_id) == "PQ002"
    else:
        late = _signal(db, job_id, payload=1)
        (job,) = claim(db, worker(db))
        assert (_told(job), late) == ({"approved": None}, False)
        assert json.loads(job.headers or "")["pgqueue.signals"][0]["timed_out"] is True

    assert (due, before) == (True, "blocked")


def test_without_a_timeout_it_waits_for_ever_but_not_past_its_expiry(db: Db) -> None:
    """Nothing to look at until then."""
    job_id = _paused(db, expires_at="2100-01-01")
    quiet = row(db, "select moved, next_look_at from pgqueue.look_at_signals()")
    db.execute("update pgqueue.jobs set expires_at = now() - interval '1 s'")
    db.execute("select * from pgqueue.maintain()")

    assert quiet == (0, None)
    assert status(db, job_id) == "cancelled"


def test_a_waiting_job_can_be_cancelled_retried_and_changed(db: Db) -> None:
    """Retry runs it without the signal; an UPDATE leaves it where it is."""
    cancelled, retried = _paused(db), _paused(db)
    db.execute("select pgqueue.cancel(%s)", (cancelled,))
    db.execute("update pgqueue.jobs set priority = 0 where id = %s", (retried,))
    after_update = row(db, "select reason, signal, priority from pgqueue.blocked")
    db.execute("select pgqueue.retry(%s)", (retried,))

    assert after_update == ("signal", "approved", 0)
    assert (status(db, cancelled), status(db, retried)) == ("cancelled", "queued")


def test_signals_stay_through_retries_and_lost_workers(db: Db) -> None:
    """The handler starts from the top each time, and finds what it was told."""
    job_id = _paused(db, unique_key="k")
    _signal(db, job_id, payload="yes")
    by = worker(db)
    claim_this(db, job_id, by)
    worker_dies(db, by)
    db.execute("select pgqueue.rescue()")
    lost = claim_this(db, job_id)
    db.execute("select pgqueue.fail(%s, %s, null, false)", lost.owned)
    db.execute("select pgqueue.retry(%s)", (job_id,))

    assert (_told(lost), _told(claim_this(db, job_id))) == (
        {"approved": "yes"},
        {"approved": "yes"},
    )


def test_a_waiting_job_leaves_its_place_under_a_limit_to_others(db: Db) -> None:
    """It does not run; when it is told, it waits for its turn like any other."""
    db.execute("select pgqueue.set_limit('job_type', 't', p_max_running => 1)")
    by = worker(db)
    first, second = insert(db), insert(db)
    (job,) = claim(db, by)
    db.execute("select pgqueue.pause_until(%s, %s, 'approved')", job.owned)
    (other,) = claim(db, by)
    _signal(db, first)
    meanwhile = claim(db, by)
    db.execute("select pgqueue.complete(%s, %s)", other.owned)
    (again,) = claim(db, by)

    assert (job.job_id, other.job_id, meanwhile, again.job_id) == (first, second, [], first)
    assert _told(again) == {"approved": None}


def test_a_waiting_job_holds_its_ordering_key(db: Db) -> None:
    """The next one of the key comes when it has finished."""
    first, second = (insert(db, ordering_key="k") for _ in range(2))
    by = worker(db)
    (job,) = claim(db, by)
    db.execute("select pgqueue.pause_until(%s, %s, 'approved')", job.owned)
    meanwhile = claim(db, by)
    _signal(db, first)
    (again,) = claim(db, by)
    db.execute("select pgqueue.complete(%s, %s)", again.owned)

    assert (meanwhile, again.job_id) == ([], first)
    assert [one.job_id for one in claim(db, by)] == [second]


def test_a_cancel_request_wins_over_the_wait(db: Db) -> None:
    """As it does over a snooze."""
    job = run_one(db)
    db.execute("select pgqueue.cancel(%s)", (job.job_id,))
    db.execute("select pgqueue.pause_until(%s, %s, 'approved')", job.owned)

    assert status(db, job.job_id) == "cancelled"


def test_a_report_pauses_a_job_and_its_batch_mates_complete(db: Db) -> None:
    """A name that cannot be one fails its job alone; repeating the report is harmless."""
    insert(db), insert(db), insert(db)
    jobs = claim(db, worker(db))
    outcomes = [
        {"do": "pause_until", "signal": "a", "timeout_seconds": 60},
        None,
        {"do": "pause_until", "signal": "a b"},
    ]
    refused = [report(db, jobs, outcomes) for _ in range(2)]

    assert refused == [{}, {}]
    assert [status(db, job.job_id) for job in jobs] == ["blocked", "succeeded", "failed"]
    assert sqlstate_of(db, "select pgqueue.pause_until(%s, 0, 'a')", jobs[0].job_id) == "PQ001"


@pytest.mark.parametrize(
    "arguments",
    ["''", "'a b'", "'~'", "null", "'a', '-1 s'", "'a', '11 years'", "'a', '1 s', 'wait'"],
)
def test_a_wait_that_makes_no_sense_is_refused(db: Db, arguments: str) -> None:
    """And the attempt goes on."""
    job = run_one(db)

    assert (
        sqlstate_of(db, f"select pgqueue.pause_until(%s, %s, {arguments})", *job.owned) == "PQ006"
    )
    assert status(db, job.job_id) == "running"


def test_a_token_signals_one_job_by_one_name(db: Db) -> None:
    """Not another job, not another name, not with a changed letter; the same at each call."""
    job_id, other = _paused(db), _paused(db)
    token = value(db, "select pgqueue.signal_token(%s, 'approved')", job_id)
    again = value(db, "select pgqueue.signal_token(%s, 'approved')", job_id)
    forged = [
        token.replace("approved", "approve"),
        token.replace(job_id.hex, other.hex),
        token[:-1] + ("0" if token[-1] != "0" else "1"),
        "x",
    ]
    wrong = [sqlstate_of(db, "select pgqueue.signal_by_token(%s)", one) for one in forged]
    elsewhere = sqlstate_of(db, "select pgqueue.signal(%s, %s)", other, token)

    assert token == again
    assert ([*wrong, elsewhere]) == ["PQ011"] * 5
    assert value(db, "select pgqueue.signal_by_token(%s, '1')", token) is True
    assert (status(db, job_id), status(db, other)) == ("queued", "blocked")


def test_signal_takes_a_token_in_place_of_a_name(db: Db) -> None:
    """For who has both from one link."""
    job_id = _paused(db)
    token = value(db, "select pgqueue.signal_token(%s, 'approved')", job_id)

    assert _signal(db, job_id, token) is True
    assert column(db, "select name from pgqueue.signals_of(%s)", job_id) == ["approved"]


def test_why_waiting_names_the_signal_and_what_follows(db: Db) -> None:
    """And the timeline shows it."""
    words = [
        value(db, "select pgqueue.why_waiting(%s)", job)
        for job in (_paused(db), _paused(db, timeout="1 h"), _paused(db, timeout="1 h", on="run"))
    ]
    told = column(db, "select detail from pgqueue.job_timeline where event = 'blocked'")

    assert all("signal approved" in one for one in words)
    assert [one.rpartition(" ")[2] for one in words] == ["takes", "fails", "it"]
    assert set(told) == {"until signal approved"}


def test_deleting_a_job_takes_its_signals_along(db: Db) -> None:
    """Retention leaves nothing behind."""
    job_id = _paused(db)
    _signal(db, job_id)
    db.execute("select pgqueue.complete(%s, %s)", claim_this(db, job_id).owned)
    db.execute("delete from pgqueue.jobs")

    assert column(db, "select name from pgqueue.signals") == []


def test_a_waiting_job_that_is_looked_at_again_finds_its_signal(db: Db) -> None:
    """As if pause_until() had found the row locked, and left it to maintenance."""
    job_id = _paused(db)
    db.execute("update pgqueue.blocked set look_at = now()")
    db.execute("insert into pgqueue.signals (job_id, name) values (%s, 'approved')", (job_id,))
    moved = value(db, "select moved from pgqueue.look_at_signals()")

    assert (moved, status(db, job_id)) == (1, "queued")


def test_many_waiting_jobs_cost_the_sweep_nothing(db: Db) -> None:
    """It reads those whose time has come, and the next one."""
    job = run_one(db)
    db.execute(
        """with made as (
            insert into pgqueue.jobs (job_type, run_at)
            select 't', '2100-01-01' from generate_series(1, 20000) returning id
        ) select count(*) from made"""
    )
    db.execute(
        """with gone as (delete from pgqueue.scheduled returning *)
        insert into pgqueue.blocked (job_id, reason, signal, look_at, timeout_at, on_timeout,
            queue, priority, job_type, flags)
        select job_id, 'signal', 's', '2100-01-01', '2100-01-01', 'fail', queue, priority,
            job_type, 256 from gone"""
    )
    db.execute("select pgqueue.pause_until(%s, %s, 's', '0')", job.owned)
    plan = row(
        db, "explain (analyze, buffers, format json) select * from pgqueue.look_at_signals()"
    )
    top = plan[0][0]["Plan"]

    assert status(db, job.job_id) == "failed"
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 400


# Deadlines.


def test_a_waiting_job_past_its_deadline_fails(db: Db) -> None:
    """Whatever it waits for; one that expires first is cancelled instead."""
    jobs = {
        "queued": insert(db, deadline_at="2100-01-01"),
        "scheduled": insert(db, deadline_at="2100-01-01", run_at="2099-01-01"),
        "signal": _paused(db, deadline_at="2100-01-01"),
        "expires first": insert(db, deadline_at="2100-01-01", expires_at="2100-01-01"),
    }
    db.execute(
        """update pgqueue.jobs set deadline_at = now() - interval '1 s',
            expires_at = case when expires_at is not null then now() - interval '2 s' end"""
    )
    claimed = claim(db, worker(db))
    db.execute("select * from pgqueue.maintain()")
    found = {name: status(db, job) for name, job in jobs.items()}
    codes = set(
        column(db, "select errors -> -1 ->> 'code' from pgqueue.finished where status = 'failed'")
    )

    assert claimed == []
    assert found == {
        "queued": "failed",
        "scheduled": "failed",
        "signal": "failed",
        "expires first": "cancelled",
    }
    assert codes == {"deadline_passed"}


def test_an_attempt_has_no_more_time_than_its_jobs_deadline(db: Db) -> None:
    """The shorter of it and the timeout; extending does not help."""
    deadline = value(db, "select clock_timestamp() + interval '1 minute'")
    short = run_one(db, deadline_at=deadline, timeout="10 s")
    long = run_one(db, deadline_at=deadline, timeout="1 h")
    alone = run_one(db, deadline_at=deadline)
    insert(db, deadline_at=deadline)
    (in_a_batch,) = claim(db, worker(db))
    extended = value(db, "select pgqueue.extend(%s, %s, '1 h')", *long.owned)

    assert short.run_seconds_max == 10
    assert all(50 < (job.run_seconds_max or 0) <= 60 for job in (long, alone, in_a_batch))
    assert extended == deadline


@pytest.mark.parametrize("way", ["claim", "claim_job", "claim under limits"])
def test_an_attempts_deadline_stays_where_clocks_change(db: Db, way: str) -> None:
    """One in winter and one in summer, told to the second in a session whose zone has both."""
    db.execute("set timezone = 'Europe/Berlin'")
    if way == "claim under limits":
        db.execute("select pgqueue.set_limit('queue', 'default', 10)")
    year = int(value(db, "select extract(year from now())::integer + 2"))
    jobs = [insert(db, deadline_at=f"{year}-{month}-15 12:00:00+00") for month in ("01", "07")]
    if way == "claim_job":
        for job_id in jobs:
            claim_this(db, job_id)
    else:
        claim(db, worker(db))
    apart = column(
        db,
        """select round(extract(epoch from r.deadline_at - j.deadline_at))::integer
        from pgqueue.running r join pgqueue.jobs j on j.id = r.job_id""",
    )

    assert apart == [0, 0]


def test_a_job_is_not_retried_past_its_deadline(db: Db) -> None:
    """It fails with both errors; one whose next attempt comes in time is retried."""
    deadline = value(db, "select clock_timestamp() + interval '1 minute'")
    late, soon = run_one(db, deadline_at=deadline), run_one(db, deadline_at=deadline)
    call = "select pgqueue.fail(%s, %s, '\"boom\"', p_retry_after => %s::interval)"
    answers = [value(db, call, *late.owned, "2 minutes"), value(db, call, *soon.owned, "1 s")]
    codes = value(db, "select jsonb_path_query_array(errors, '$[*].code') from pgqueue.finished")

    assert answers == ["failed", "retrying"]
    assert codes == ["error", "deadline_passed"]
    assert sqlstate_of(db, "select pgqueue.retry(%s)", late.job_id) is None


def test_a_job_past_its_deadline_is_not_retried_by_hand(db: Db) -> None:
    """Nor redriven; as with one that has expired."""
    job = insert(db, deadline_at="2001-01-01")
    db.execute("select * from pgqueue.maintain()")

    assert status(db, job) == "failed"
    assert sqlstate_of(db, "select pgqueue.retry(%s)", job) == "PQ002"
    assert value(db, "select pgqueue.redrive()") == 0


def test_every_way_of_enqueueing_takes_a_deadline(db: Db) -> None:
    """And refuses one that is infinite, by the name of its limit."""
    db.execute("select pgqueue.enqueue('t', p_deadline_at => '2100-01-01')")
    db.execute(
        """select pgqueue.enqueue_many('[{"job_type": "t", "deadline_at": "2100-01-01"}]')"""
    )
    db.execute("insert into pgqueue.inbox (job_type, deadline_at) values ('t', '2100-01-01')")
    db.execute("insert into pgqueue.inbox (job_type, deadline_at) values ('t', '0001-01-01')")

    assert column(
        db, "select extract(year from deadline_at)::int from pgqueue.jobs order by id"
    ) == [2100, 2100, 2100, None]
    assert (
        sqlstate_of(db, "insert into pgqueue.jobs (job_type, deadline_at) values ('t', 'infinity')")
        == "23514"
    )
