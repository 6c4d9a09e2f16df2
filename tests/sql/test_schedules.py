"""Schedules: what a tick makes, what is made up for, and what operators do."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import (
    claim_this,
    column,
    refused,
    row,
    sqlstate_of,
    status,
    value,
)
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_SECOND = dt.timedelta(seconds=1)


def _set(db: Db, name: str = "s", cron: str = "* * * * *", **more: Any) -> dt.datetime:
    named = "".join(f", {key} => %({key})s" for key in more)
    query = f"select pgqueue.set_schedule(%(name)s, %(cron)s, %(job_type)s{named})"
    found: dt.datetime = db.execute(
        query, {"name": name, "cron": cron, "job_type": "t", **more}
    ).fetchall()[0][0]
    return found


def _go_back(db: Db, name: str, by: str) -> None:
    """Let the schedule look as if nobody had run it for *by*."""
    db.execute(
        """update pgqueue.schedules
        set next_tick_at = pgqueue.next_tick(cron, time_zone, clock_timestamp() - %s::interval)
        where name = %s""",
        (by, name),
    )


def _run(db: Db) -> int:
    return int(value(db, "select enqueued from pgqueue.run_schedules()"))


def _outcomes(db: Db, name: str = "s") -> list[str]:
    return column(
        db, "select outcome from pgqueue.schedule_runs where schedule = %s order by tick_at", name
    )


def test_a_tick_becomes_a_job_with_all_that_the_schedule_says(db: Db) -> None:
    """Payload, queue, priority, limits and headers; the tick itself is in the headers."""
    _set(
        db,
        cron="@yearly",
        p_payload='{"shop": 7}',
        p_queue="reports",
        p_priority=2,
        p_max_attempts=3,
        p_timeout="90 seconds",
        p_headers='{"a": 1}',
        p_tenant_id="acme",
    )
    _go_back(db, "s", "1 year")
    tick = value(db, "select next_tick_at from pgqueue.schedules")
    _run(db)
    job = row(
        db,
        """select payload, queue, priority, max_attempts, timeout, tenant_id, headers
        from pgqueue.jobs""",
    )

    headers = {"a": 1, "schedule": "s", "tick_at": f"{tick.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"}
    assert job == ({"shop": 7}, "reports", 2, 3, dt.timedelta(seconds=90), "acme", headers)


def test_a_tick_runs_once_and_the_next_one_is_known(db: Db) -> None:
    """Calling again changes nothing; the answer says when to come back."""
    _set(db, cron="0 0 1 1 *")
    _go_back(db, "s", "1 year")
    first = row(db, "select * from pgqueue.run_schedules()")
    again = row(db, "select * from pgqueue.run_schedules()")

    assert (first[0], again[0]) == (1, 0)
    assert first[1] == again[1] == value(db, "select pgqueue.next_tick('0 0 1 1 *')")


@pytest.mark.parametrize(
    ("catch_up", "limit", "jobs", "outcomes"),
    [
        ("skip", 100, 0, ["missed"]),
        ("one", 100, 1, ["missed", "enqueued"]),
        ("all", 100, 3, ["enqueued"] * 3),
        ("all", 2, 2, ["missed", "enqueued", "enqueued"]),
    ],
)
def test_after_three_hours_without_a_worker(
    db: Db, catch_up: str, limit: int, jobs: int, outcomes: list[str]
) -> None:
    """An hourly schedule has missed three ticks; the policy says what becomes of them."""
    hour = value(db, "select extract(minute from clock_timestamp())::integer")
    # A minute that is half an hour away, so that no tick comes while the test runs.
    _set(db, cron=f"{(hour + 30) % 60} * * * *", p_catch_up=catch_up, p_catch_up_max=limit)
    _go_back(db, "s", "3 hours")

    assert _run(db) == jobs
    assert _outcomes(db) == outcomes
    assert value(db, "select next_tick_at > clock_timestamp() from pgqueue.schedules")


def test_ticks_within_the_grace_all_run_in_order(db: Db) -> None:
    """A schedule of every second, maintained ten seconds late: ten jobs, whatever catch_up says."""
    _set(db, cron="* * * * * *", p_catch_up="skip")
    _go_back(db, "s", "10 seconds")
    _run(db)
    ticks = column(
        db,
        """select r.tick_at from pgqueue.schedule_runs r
        join pgqueue.ready q on q.job_id = r.job_id order by q.pos""",
    )

    assert len(ticks) >= 10
    assert ticks == [ticks[0] + n * _SECOND for n in range(len(ticks))]


def test_a_missed_year_of_seconds_costs_as_much_as_a_missed_hour(db: Db) -> None:
    """31 million missed ticks are not counted: the latest are looked for from the end."""
    _set(db, cron="* * * * * *", p_catch_up="all", p_catch_up_max=5)
    _go_back(db, "s", "1 year")
    db.execute("set statement_timeout = '20s'")
    _run(db)
    (first, until) = row(
        db, "select tick_at, missed_until from pgqueue.schedule_runs where outcome = 'missed'"
    )

    assert until - first > dt.timedelta(days=360)
    assert _outcomes(db).count("enqueued") >= 5 + 59


def test_overlap_skip_leaves_out_ticks_while_the_last_run_is_unfinished(db: Db) -> None:
    """Waiting or running, the job of the run before holds ticks off; finished, it does not."""
    _set(db, cron="* * * * * *", p_overlap="skip")
    job = value(db, "select pgqueue.run_schedule_now('s')")
    _go_back(db, "s", "3 seconds")
    while_waiting = _run(db)
    claimed = claim_this(db, job)
    ticks = len(_outcomes(db))
    eventually(lambda: _run(db) > 0 or len(_outcomes(db)) > ticks + 1, what="two more ticks")
    while_running = set(_outcomes(db))
    db.execute("select pgqueue.complete(%s, %s)", claimed.owned)

    assert while_waiting == 0
    assert while_running == {"by_hand", "skipped"}
    eventually(lambda: _run(db) > 0, what="a tick after it finished")


def test_overlap_queue_lets_one_run_wait_for_the_one_before(db: Db) -> None:
    """While one runs, three ticks make one follow-up."""
    _set(db, cron="* * * * * *", p_overlap="queue")
    first = value(db, "select pgqueue.run_schedule_now('s')")
    claimed = claim_this(db, first)
    _go_back(db, "s", "3 seconds")
    _run(db)
    waiting = set(column(db, "select job_id from pgqueue.schedule_runs where outcome = 'enqueued'"))

    (follow_up,) = waiting
    assert (status(db, first), status(db, follow_up)) == ("running", "blocked")
    db.execute("select pgqueue.complete(%s, %s)", claimed.owned)
    assert status(db, follow_up) == "queued"


def test_jitter_spreads_the_start(db: Db) -> None:
    """The job waits for a random time below the jitter, counted from the tick."""
    _set(db, cron="* * * * * *", p_jitter="1 day")
    _go_back(db, "s", "40 seconds")
    _run(db)
    delays = column(
        db,
        """select j.run_at - r.tick_at from pgqueue.jobs j
        join pgqueue.schedule_runs r on r.job_id = j.id""",
    )

    assert all(dt.timedelta(0) <= delay < dt.timedelta(days=1) for delay in delays)
    assert len(set(delays)) == len(delays) >= 40


def test_a_refused_tick_is_written_down_and_the_others_go_on(db: Db) -> None:
    """A job type that strict mode does not know fails its own schedule, with the reason."""
    db.execute("select pgqueue.set_job_type('known')")
    _set(db, "a")
    _set(db, "b")
    db.execute("update pgqueue.schedules set job_type = 'known' where name = 'b'")
    db.execute("select pgqueue.set_settings(p_strict_job_types => true)")
    for name in "ab":
        _go_back(db, name, "70 seconds")
    _run(db)
    ((outcome, error),) = set(
        db.execute(
            """select outcome, error from pgqueue.schedule_history
            where schedule = 'a' and outcome <> 'missed'"""
        )
    )

    assert (outcome, "not registered" in error) == ("refused", True)
    assert "enqueued" in _outcomes(db, "b")
    assert value(db, "select min(next_tick_at) > clock_timestamp() from pgqueue.schedules")


def test_pausing_lets_ticks_pass_and_resuming_starts_with_the_next(db: Db) -> None:
    """Nothing is made up for: somebody wanted it not to run."""
    _set(db, cron="* * * * * *")
    db.execute("select pgqueue.pause_schedule('s', 'maintenance')")
    _go_back(db, "s", "30 seconds")
    while_paused = _run(db)
    resumed = value(db, "select pgqueue.resume_schedule('s')")

    assert while_paused == 0
    assert resumed > value(db, "select clock_timestamp() - interval '2 seconds'")
    assert _outcomes(db) == []


def test_a_disabled_schedule_does_not_tick(db: Db) -> None:
    """Enabling it again starts from now."""
    _set(db, p_enabled=False)
    _go_back(db, "s", "3 hours")

    assert _run(db) == 0
    assert _set(db, p_enabled=True) > value(db, "select clock_timestamp()")


def test_running_by_hand_leaves_the_ticks_where_they_are(db: Db) -> None:
    """Also for a paused schedule."""
    upcoming = _set(db, cron="@yearly")
    db.execute("select pgqueue.pause_schedule('s')")
    job = value(db, "select pgqueue.run_schedule_now('s')")

    assert status(db, job) == "queued"
    assert _outcomes(db) == ["by_hand"]
    assert value(db, "select next_tick_at from pgqueue.schedules") == upcoming


def test_what_a_worker_declares_yields_to_an_operator(db: Db) -> None:
    """A worker may create and change a schedule until an operator has changed it."""
    declared = """select pgqueue.register_schedules(
        jsonb_build_array(jsonb_build_object(
            'name', 's', 'cron', %s::text, 'job_type', 't', 'jitter_seconds', 5)))"""
    db.execute(declared, ("@daily",))
    db.execute(declared, ("@hourly",))
    by_worker = value(db, "select cron from pgqueue.schedules")
    db.execute("select pgqueue.set_schedule('s', '@monthly')")
    db.execute(declared, ("@weekly",))

    assert (by_worker, value(db, "select cron from pgqueue.schedules")) == ("@hourly", "@monthly")


def test_declaring_the_same_again_keeps_the_next_tick(db: Db) -> None:
    """A worker that restarts every minute must not push a tick away for ever."""
    _set(db, cron="@daily")
    _go_back(db, "s", "2 days")
    before = value(db, "select next_tick_at from pgqueue.schedules")

    assert _set(db, cron="@daily", p_declared=True) == before


@pytest.mark.parametrize(
    ("call", "sqlstate"),
    [
        ("select pgqueue.set_schedule('s', 'nonsense', 't')", "PQ006"),
        ("select pgqueue.set_schedule('s', '@daily', 't', p_time_zone => 'Mars/Base')", "PQ006"),
        ("select pgqueue.set_schedule('new', p_cron => '@daily')", "PQ006"),
        ("select pgqueue.set_schedule('s', '@daily', 't', p_overlap => 'x')", "23514"),
        ("select pgqueue.set_schedule('s', '@daily', 't', p_catch_up_max => 0)", "23514"),
        ("select pgqueue.set_schedule('s', '@daily', 't', '[]')", "23514"),
        ("select pgqueue.pause_schedule('nobody')", "PQ006"),
        ("select pgqueue.resume_schedule('nobody')", "PQ006"),
        ("select pgqueue.run_schedule_now('nobody')", "PQ006"),
    ],
)
def test_nonsense_is_refused(db: Db, call: str, sqlstate: str) -> None:
    """With our own SQLSTATE, or the name of the CHECK."""
    assert sqlstate_of(db, call) == sqlstate
    assert column(db, "select name from pgqueue.schedules") == []


def test_removing_a_schedule_keeps_its_jobs(db: Db) -> None:
    """What has been enqueued runs; the history stays."""
    _set(db)
    job = value(db, "select pgqueue.run_schedule_now('s')")

    assert value(db, "select pgqueue.remove_schedule('s')") is True
    assert value(db, "select pgqueue.remove_schedule('s')") is False
    assert (status(db, job), _outcomes(db)) == ("queued", ["by_hand"])


def test_old_runs_are_forgotten(db: Db) -> None:
    """After the retention of finished jobs."""
    _set(db)
    for _ in range(3):
        db.execute("select pgqueue.run_schedule_now('s')")
    db.execute("update pgqueue.schedule_runs set created_at = created_at - interval '31 days'")
    db.execute("select pgqueue.run_schedule_now('s')")

    assert value(db, "select pgqueue.forget_schedule_runs()") == 3
    assert _outcomes(db) == ["by_hand"]


def test_maintain_runs_what_is_due_and_says_when_to_come_back(db: Db) -> None:
    """The next tick counts as well as the next scheduled job."""
    upcoming = _set(db, cron="@hourly")
    _set(db, "late", cron="@yearly")
    _go_back(db, "late", "1 year")
    (enqueued, next_due_at) = row(db, "select enqueued, next_due_at from pgqueue.maintain()")

    assert (enqueued, next_due_at) == (1, upcoming)


def test_a_transaction_at_repeatable_read_is_refused(db: Db) -> None:
    """A snapshot from before another scheduler's commit would run ticks again."""
    with refused("PQ006"), db.transaction():
        db.execute("set transaction isolation level repeatable read")
        db.execute("select * from pgqueue.run_schedules()")
