"""Queues, job types and health in numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.rows import dict_row

from tests.support.sqljobs import (
    claim,
    claim_this,
    insert,
    insert_many,
    job_in,
    report,
    row,
    run_one,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.sqljobs import Db


def _one(db: Db, query: str, *values: Any) -> dict[str, Any]:
    with db.cursor(row_factory=dict_row) as cursor:
        (found,) = cursor.execute(query, values).fetchall()
    return found


def _queue(db: Db, queue: str = "default") -> dict[str, Any]:
    return _one(db, "select * from pgqueue.queue_stats where queue = %s", queue)


def _check(db: Db, name: str) -> tuple[str, str]:
    """Status and value of one check of pgqueue.health."""
    status, found = row(db, 'select status, value from pgqueue.health where "check" = %s', name)
    return status, found


def test_queue_stats_counts_each_place(db: Db) -> None:
    """Ready, running, scheduled (with retries), blocked, failed."""
    for wanted in ("scheduled", "retrying", "blocked", "failed", "succeeded", "queued"):
        job_in(db, wanted)
    found = _queue(db)
    wanted_counts = {
        "depth": 1,
        "depth_capped": False,
        "running": 1,
        "scheduled": 2,
        "blocked": 1,
        "failed": 1,
        "others_capped": False,
        "paused": False,
    }

    assert {name: found[name] for name in wanted_counts} == wanted_counts
    assert found["oldest_ready_seconds"] >= 0


def test_queue_stats_finds_every_queue(db: Db) -> None:
    """By ready jobs of any priority, by running ones, by statistics, and those that are paused."""
    for number, queue in enumerate("abcde"):
        insert(db, queue=queue, priority=number % 4)
    insert(db, queue="running only")
    by = worker(db, ["running only"])
    claim(db, by, queues=["running only"])
    insert(db, queue="later only", run_at="2100-01-01")
    db.execute("select pgqueue.pause_queue('paused only', 'why')")
    job = run_one(db, queue="finished only")
    db.execute("select pgqueue.complete(%s, %s)", job.owned)
    found = db.execute("select queue from pgqueue.queue_stats order by queue").fetchall()

    assert [queue for (queue,) in found] == [
        *"abcde",
        "finished only",
        "later only",
        "paused only",
        "running only",
    ]
    assert (_queue(db, "paused only")["paused"], _queue(db, "paused only")["paused_reason"]) == (
        True,
        "why",
    )


def test_rates_are_per_minute_and_merging_does_not_change_them(db: Db) -> None:
    """Ten finished within a window of four to five minutes: 2 to 2.5 a minute."""
    by = worker(db)
    insert_many(db, 10)
    jobs = claim(db, by)
    report(db, jobs, [{"do": "fail", "retryable": False}] * 5 + [None] * 5)
    before = _queue(db)
    db.execute("select pgqueue.merge_stats()")
    after = _queue(db)

    assert Decimal(2) <= before["finished_per_minute"] <= Decimal("2.5")
    assert Decimal(1) <= before["failed_per_minute"] <= Decimal("1.25")
    assert Decimal(2) <= after["finished_per_minute"] <= Decimal("2.5")
    assert after["run_p99_seconds"] == before["run_p99_seconds"]


def _histogram(db: Db, seconds: list[float]) -> None:
    """One job in statistics per given run time; each waited 0.0015 s."""
    db.execute(
        "insert into pgqueue.stats_log (minute, job_type, queue, outcome, wait_bucket, run_bucket,"
        " jobs, wait_seconds, run_seconds)"
        " select date_trunc('minute', now()), 't', 'default', 'succeeded', 1,"
        " width_bucket(s, pgqueue.stats_bounds()), 1, 0.0015, s from unnest(%s::float8[]) s",
        (seconds,),
    )


def test_quantiles_are_within_the_bucket_of_the_true_value(db: Db) -> None:
    """99 jobs of 0.3 s and one of 40 s: the median is in 0.2 to 0.5 s, nothing leaks upwards."""
    _histogram(db, [0.3] * 99 + [40.0])
    found = _queue(db)

    assert found["run_p50_seconds"] == pytest.approx(Decimal("0.3515"), abs=Decimal("0.0001"))
    assert Decimal("0.2") <= found["run_p99_seconds"] <= Decimal("0.5")
    assert Decimal("0.001") <= found["wait_p50_seconds"] <= Decimal("0.002")


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.001, 7.0, 99_999.0, 1e6])
def test_a_quantile_exists_for_every_bucket(db: Db, seconds: float) -> None:
    """The first and the open last one included; the estimate stays within the bounds."""
    _histogram(db, [seconds])
    found = _queue(db)

    assert Decimal(0) <= found["run_p50_seconds"] <= Decimal(100_000)


def test_job_type_stats_shows_the_settings_in_force(db: Db) -> None:
    """The type's own, else those of all; and how many live workers handle it."""
    db.execute("select pgqueue.set_job_type('t', p_max_attempts => 9, p_timeout => '1 minute')")
    worker(db, job_types=["t", "u"])
    worker(db, job_types=["u"])
    worker(db)
    worker_dies(db, worker(db))
    job_in(db, "succeeded")
    found = _one(db, "select * from pgqueue.job_type_stats where job_type = 't'")
    wanted = {
        "enabled": True,
        "paused": False,
        "queue": "default",
        "max_attempts": 9,
        "timeout_seconds": Decimal("60.000"),
        "backoff_base_seconds": Decimal("5.000"),
        "backoff_factor": 2.0,
        "retention_seconds": Decimal("2592000.000"),
        "operator_managed": True,
    }

    assert {name: found[name] for name in wanted} == wanted
    assert found["workers"] == 3


def test_job_type_stats_counts_a_day_of_outcomes(db: Db) -> None:
    """By outcome; attempts to be repeated are counted apart from finished jobs."""
    for wanted in ("succeeded", "succeeded", "partial", "failed", "cancelled", "retrying"):
        job_in(db, wanted)
    db.execute("select pgqueue.merge_stats()")
    found = row(
        db, "select succeeded, partial, failed, cancelled, retried from pgqueue.job_type_stats"
    )

    assert found == (2, 1, 1, 1, 1)


def test_a_job_type_that_nobody_registered_shows_once_it_has_run(db: Db) -> None:
    """Enabled and with the settings of all, for that is how it is treated."""
    job_in(db, "succeeded")

    assert row(db, "select enabled, max_attempts, workers from pgqueue.job_type_stats") == (
        True,
        5,
        1,
    )


def test_a_healthy_database_has_only_ok(db: Db) -> None:
    """With a live worker and a server that keeps the promise; durability is the server's matter."""
    worker(db)
    found = db.execute(
        "select * from pgqueue.health where status <> 'ok' and \"check\" not like 'server setting%'"
        " and \"check\" not in ('oldest transaction', 'oldest prepared transaction',"
        " 'replication slots that hold rows back', 'dead rows in a hot table', 'notify queue')"
    ).fetchall()

    assert found == []


def test_health_has_a_hint_for_whatever_is_not_ok(db: Db) -> None:
    """And none for what is."""
    found = value(db, "select count(*) from pgqueue.health where (status = 'ok') <> (hint is null)")

    assert found == 0


def test_health_fails_without_workers_when_jobs_wait(db: Db) -> None:
    """Without jobs it is a warning: nothing is late yet."""
    idle = _check(db, "workers alive")
    insert(db)

    assert (idle, _check(db, "workers alive")) == (("warn", "0"), ("fail", "0"))


def test_health_sees_dead_workers_and_what_they_ran(db: Db) -> None:
    """The lease alone decides; nobody has declared it dead."""
    by = worker(db, name="lost")
    insert(db)
    claim(db, by)
    worker_dies(db, by)

    assert _check(db, "workers dead within the hour") == ("warn", "1: lost")
    assert _check(db, "running jobs of dead workers") == ("fail", "1")


def test_health_sees_what_maintenance_left_undone(db: Db) -> None:
    """Due jobs not promoted, statistics not merged, deadlines passed."""
    insert(db, run_at="2100-01-01")
    db.execute("update pgqueue.scheduled set due_at = now() - interval '30 seconds'")
    db.execute(
        "insert into pgqueue.stats_log (minute, job_type, queue, outcome, jobs, wait_seconds,"
        " run_seconds) select date_trunc('minute', now()), 't', 'q', 'failed', 1, 0, 0"
        " from generate_series(1, 10001)"
    )
    run_one(db, timeout="1 hour")
    db.execute("update pgqueue.running set deadline_at = now() - interval '10 minutes'")

    assert _check(db, "scheduled jobs not promoted")[0] == "warn"
    assert _check(db, "statistics not merged") == ("warn", "10001 rows")
    assert _check(db, "running jobs past their deadline") == ("fail", "1")


def test_health_sees_old_jobs_and_forgotten_pauses(db: Db) -> None:
    """A paused queue's jobs are not late; that its pause is long is a warning of its own."""
    insert(db, queue="slow")
    insert(db, queue="resting")
    db.execute("update pgqueue.ready set ready_at = ready_at - interval '2 minutes'")
    db.execute("select pgqueue.pause_queue('resting')")
    db.execute("update pgqueue.queues set paused_at = paused_at - interval '2 hours'")
    late = _check(db, "oldest ready job")
    db.execute("update pgqueue.ready set ready_at = ready_at - interval '1 hour'")

    assert late == ("warn", "120 s")
    assert _check(db, "oldest ready job")[0] == "fail"
    assert _check(db, "queues paused for more than an hour") == ("warn", "1: resting")


def test_a_batch_that_nobody_closes_is_named(db: Db) -> None:
    """After a week without a new job and without one that waits; not one that is still used."""
    forgotten, used, waits = (
        value(db, "select pgqueue.open_batch(%s)", name) for name in ("forgotten", "used", "waits")
    )
    run = [claim_this(db, insert(db, batch_id=batch)) for batch in (forgotten, used)]
    insert(db, batch_id=waits)
    for job in run:
        db.execute("select pgqueue.complete(%s, %s)", job.owned)
    db.execute("select pgqueue.merge_batches()")
    young = _check(db, "batches that nobody closes")
    db.execute("update pgqueue.batches set created_at = created_at - interval '8 days'")
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        db.execute(
            "update pgqueue.jobs set created_at = created_at - interval '8 days'"
            " where batch_id <> %s",
            (used,),
        )
    old = _check(db, "batches that nobody closes")
    db.execute("select pgqueue.close_batch(%s)", (forgotten,))

    assert (young, old) == (("ok", "0"), ("warn", "1: forgotten"))
    assert _check(db, "batches that nobody closes") == ("ok", "0")


def test_health_names_the_session_that_holds_a_snapshot(db: Db, connect: Connect) -> None:
    """Its pid, user, application and state."""
    holder = connect(autocommit=False, application_name="report")
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select")
    found = _check(db, "oldest transaction")[1]
    pid = holder.info.backend_pid
    holder.rollback()

    assert f"pid {pid}, " in found
    assert ", report, idle in transaction" in found


def test_health_says_what_it_cannot_see(db: Db, connect: Connect) -> None:
    """Without pg_read_all_stats the sessions of others have no snapshot to see."""
    viewer = connect(role="pgqueue_viewer")

    assert _check(viewer, "oldest transaction") == ("unknown", "none")


def test_health_names_settings_that_break_the_promise(db: Db) -> None:
    """As this session sees them."""
    db.execute("set synchronous_commit = off")
    found = _check(db, "server setting synchronous_commit")
    db.execute("set synchronous_commit = local")

    assert found == ("fail", "off")
    assert _check(db, "server setting synchronous_commit") == ("ok", "on")
