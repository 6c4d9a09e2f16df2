"""Maintenance when something is in its way: the other parts still do their work."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    place,
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

    import psycopg

    from tests.support.sqljobs import Db

_COUNTS = "select promoted, rescued, expired, removed from pgqueue.maintain()"


def _busy(db: Db) -> None:
    """One job is due, one lost its worker, one is past its retention."""
    db.execute("select pgqueue.set_settings(p_retention => '0')")
    old = run_one(db, "old")
    db.execute("select pgqueue.complete(%s, %s)", old.owned)
    insert(db, "due", run_at="2100-01-01")
    db.execute("update pgqueue.scheduled set due_at = clock_timestamp()")
    run_one(db, "lost")
    worker_dies(db, value(db, "select worker_id from pgqueue.running"))


def _warnings(db: Db) -> list[str]:
    heard: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        heard.append(str(notice.message_primary))

    db.add_notice_handler(hear)
    return heard


def test_a_foreign_key_of_the_application_stops_retention_of_its_type_only(db: Db) -> None:
    """It is said as a warning; promotion, rescue and the retention of others go on."""
    _busy(db)
    kept = run_one(db, "kept")
    db.execute("select pgqueue.complete(%s, %s)", kept.owned)
    db.execute("create table public.orders (job_id uuid references pgqueue.jobs)")
    db.execute("insert into public.orders values (%s)", (kept.job_id,))
    heard = _warnings(db)
    counts = row(db, _COUNTS)

    assert counts == (1, 1, 0, 1)
    assert status(db, kept.job_id) == "succeeded"
    assert [text for text in heard if "jobs of type kept are kept beyond" in text] == heard


def test_a_part_that_fails_leaves_the_others_to_work(db: Db) -> None:
    """An application's own trigger refuses each DELETE of a job."""
    _busy(db)
    db.execute(
        """create function public.refuse() returns trigger language plpgsql
           as $$begin raise object_not_in_prerequisite_state using message = 'never'; end$$"""
    )
    db.execute(
        """create trigger refuse before delete on pgqueue.jobs
           for each row execute function public.refuse()"""
    )
    heard = _warnings(db)
    counts = row(db, _COUNTS)

    assert counts == (1, 1, 0, 0)
    assert heard == ["pgqueue.retain() failed: never (SQLSTATE 55000)"]


def test_no_gate_is_held_while_the_other_parts_of_maintenance_work(db: Db) -> None:
    """Claims would leave its jobs until a slow retention ends; the gate is opened all the same."""
    _busy(db)
    db.execute("select pgqueue.set_limit('job_type', 't', 1)")
    insert(db)
    second = insert(db)
    by = worker(db)
    (first,) = claim(db, by)
    db.execute("select pgqueue.complete(%s, %s)", first.owned)
    db.execute(
        """create function public.look() returns trigger language plpgsql as $$
           begin
               raise warning 'gates held: %', (select count(*) from pg_locks l
                   where l.locktype = 'advisory' and l.classid = 7067006
                       and l.pid = pg_backend_pid());
               return old;
           end$$"""
    )
    db.execute(
        """create trigger look before delete on pgqueue.jobs
           for each statement execute function public.look()"""
    )
    heard = _warnings(db)
    db.execute("select pgqueue.maintain()")

    assert set(heard) == {"gates held: 0"}
    assert place(db, second) == "ready"


def test_a_grace_without_end_does_not_stop_rescue(db: Db) -> None:
    """The interval is capped, not subtracted to before the first timestamp."""
    db.execute("select pgqueue.set_settings(p_timeout_grace => '290000 years')")
    job = run_one(db, timeout="1 ms")

    assert value(db, "select pgqueue.rescue()") == 0
    assert status(db, job.job_id) == "running"


def test_the_next_due_time_is_one_that_clients_can_load(db: Db) -> None:
    """PostgreSQL's timestamps go on to 294276, Python's and .NET's end with 9999."""
    insert(db, run_at="294276-12-31 23:59:59 UTC")
    (due_at,) = row(db, "select next_due_at from pgqueue.maintain()")

    assert due_at == dt.datetime(9999, 12, 30, tzinfo=dt.UTC)


def test_a_retry_is_at_most_ten_years_away(db: Db) -> None:
    """A delay that makes no sense neither fails the report nor loses the job."""
    for delay in ("200000 years", "11 years"):
        job = run_one(db)
        db.execute("select pgqueue.fail(%s, %s, p_retry_after => %s)", (*job.owned, delay))

        assert place(db, job.job_id) == "scheduled"

    assert column(
        db, "select count(*) from pgqueue.scheduled where due_at > now() + interval '11 years'"
    ) == [0]


def test_hours_of_statistics_are_cut_in_one_zone(db: Db) -> None:
    """Callers in zones of half hours merge into the same hours."""
    db.execute(
        """insert into pgqueue.stats
           select 'minute', h.starts_at + n * interval '1 minute', 't', 'q', n, 'succeeded',
               1, 1, 1, 0, 0
           from generate_series(0, 59) as n,
               (select date_trunc('hour', now(), 'UTC') - interval '9 hours' as starts_at) h"""
    )
    db.execute("set timezone = 'Asia/Kolkata'")
    db.execute("select pgqueue.merge_stats()")
    hours = """select jobs, starts_at = date_trunc('hour', now(), 'UTC') - interval '9 hours'
               from pgqueue.stats where span = 'hour'"""

    assert row(db, hours) == (60, True)


def _poisoned(db: Db) -> tuple[UUID, UUID]:
    """Two jobs that are about to fail; a trigger of the application refuses one's end."""
    db.execute(
        """create function public.refuse_poison() returns trigger language plpgsql
           as $$begin raise object_not_in_prerequisite_state using message = 'never'; end$$"""
    )
    db.execute(
        """create trigger refuse_poison before insert on pgqueue.finished for each row
           when (new.job_type = 'poison') execute function public.refuse_poison()"""
    )
    return insert(db, "poison", max_attempts=1), insert(db, max_attempts=1)


@pytest.mark.parametrize("part", ["expire", "rescue", "look_at_signals"])
def test_a_job_that_cannot_end_stops_nobody_else(db: Db, part: str) -> None:
    """It is named in a warning and stays where it is; the others end as ever."""
    poison, other = _poisoned(db)
    if part == "expire":
        for table in ("jobs", "ready"):
            db.execute(f"update pgqueue.{table} set expires_at = now()")
    else:
        jobs = claim(db, worker(db), 2)
        if part == "rescue":
            worker_dies(db, value(db, "select distinct worker_id from pgqueue.running"))
        else:
            for job in jobs:
                db.execute("select pgqueue.pause_until(%s, %s, 'go', '1 hour')", job.owned)
            db.execute("update pgqueue.blocked set look_at = now(), timeout_at = now()")
    before = place(db, poison)
    heard = _warnings(db)
    db.execute("select pgqueue.maintain()")

    assert heard == [f"pgqueue.{part}() leaves job {poison}: never (SQLSTATE 55000)"]
    assert (place(db, poison), place(db, other)) == (before, "finished")


@pytest.mark.parametrize("state", ["40P01", "53100", "55P03"])
def test_what_says_nothing_about_a_job_stops_the_call(db: Db, state: str) -> None:
    """A deadlock, a full disk, a lock that is not to be had: all is undone, and comes again."""
    poison, other = _poisoned(db)
    db.execute(
        f"""create or replace function public.refuse_poison() returns trigger language plpgsql
            as $$begin raise exception using errcode = '{state}'; end$$"""
    )
    for table in ("jobs", "ready"):
        db.execute(f"update pgqueue.{table} set expires_at = now()")

    assert sqlstate_of(db, "select pgqueue.expire()") == state
    assert (place(db, poison), place(db, other)) == ("ready", "ready")


def _due(db: Db, part: str) -> None:
    """Whatever waits is for this part of maintenance to move."""
    if part == "expire":
        for table in ("jobs", "ready"):
            db.execute(f"update pgqueue.{table} set expires_at = now()")
        return
    jobs = claim(db, worker(db), 10)
    if part == "rescue":
        worker_dies(db, value(db, "select distinct worker_id from pgqueue.running"))
        return
    for job in jobs:
        db.execute("select pgqueue.pause_until(%s, %s, 'go', '1 hour')", job.owned)
    db.execute("update pgqueue.blocked set look_at = now(), timeout_at = now()")


_ERRORS = "select error from pgqueue.maintenance_failures"
_TRY_AT = "update pgqueue.maintenance_failures set next_try_at ="
_HEALTH = """select value from pgqueue.health
    where "check" = 'jobs that maintenance cannot move' and status = 'warn'"""


@pytest.mark.parametrize("part", ["expire", "rescue", "look_at_signals"])
def test_as_many_as_one_call_takes_hide_nobody(db: Db, part: str) -> None:
    """It steps over those that failed; after a minute they are tried again."""
    first, _ = _poisoned(db)
    poison = [first, *(insert(db, "poison", max_attempts=1) for _ in range(3))]
    last = insert(db, max_attempts=1)
    _due(db, part)
    before = place(db, first)
    for _ in range(3):
        db.execute(f"select pgqueue.{part}(2)")

    assert place(db, last) == "finished"
    assert [place(db, job_id) for job_id in poison] == [before] * 4
    assert set(column(db, "select job_id from pgqueue.maintenance_failures")) == set(poison)
    assert set(column(db, "select error from pgqueue.maintenance_failures")) == {
        "never (SQLSTATE 55000)"
    }

    db.execute("drop trigger refuse_poison on pgqueue.finished")
    db.execute(f"select pgqueue.{part}()")

    assert [place(db, job_id) for job_id in poison] == [before] * 4

    db.execute(f"{_TRY_AT} clock_timestamp()")
    db.execute(f"select pgqueue.{part}()")

    assert [place(db, job_id) for job_id in poison] == ["finished"] * 4


def test_any_limit_will_do(db: Db) -> None:
    """The largest integer means all: no part of maintenance multiplies it beyond its type."""
    said: list[str] = []
    db.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    late = insert(db)
    _due(db, "expire")
    old = insert(db)
    db.execute("select pgqueue.cancel(%s)", (old,))
    db.execute("update pgqueue.finished set finished_at = '2020-01-01'")
    db.execute("select pgqueue.maintain(2147483647)")

    assert said == []
    assert place(db, late) == "finished"
    assert column(db, "select id from pgqueue.jobs") == [late]


def test_a_clock_set_back_does_not_make_the_minute_longer(db: Db) -> None:
    """What says to be tried in an hour was written before that, and is tried now."""
    poison, _ = _poisoned(db)
    _due(db, "expire")
    db.execute("select pgqueue.expire()")
    db.execute("drop trigger refuse_poison on pgqueue.finished")
    db.execute(
        "update pgqueue.maintenance_failures set next_try_at = next_try_at + interval '1 hour'"
    )
    db.execute("select pgqueue.expire()")

    assert place(db, poison) == "finished"


def test_what_maintenance_failed_on_is_forgotten_in_time(db: Db) -> None:
    """When it has been tried again, or moved by somebody else."""
    poison, _ = _poisoned(db)
    _due(db, "expire")
    db.execute("select pgqueue.maintain()")

    assert column(db, "select job_id from pgqueue.maintenance_failures") == [poison]

    db.execute("drop trigger refuse_poison on pgqueue.finished")
    db.execute(f"{_TRY_AT} clock_timestamp() - interval '61 seconds'")
    db.execute("select pgqueue.maintain()")

    assert column(db, "select job_id from pgqueue.maintenance_failures") == []
    assert place(db, poison) == "finished"
