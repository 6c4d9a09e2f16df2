"""Statistics: appended per batch, merged later, and no finish is lost or counted twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.sqljobs import claim, insert_many, job_in, report, row, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

# The log has them as real, 7 digits; they are added up as double precision.
_TOTALS = """select sum(jobs), round(sum(wait_seconds::double precision)::numeric, 6),
    round(sum(run_seconds::double precision)::numeric, 6)"""


def test_every_outcome_is_counted_once(db: Db) -> None:
    """Finishes and ended attempts, under their own names."""
    for wanted in ("succeeded", "partial", "failed", "cancelled", "retrying"):
        job_in(db, wanted)
    queued = job_in(db, "queued")
    db.execute("select pgqueue.cancel(%s)", (queued.job_id,))
    found = dict(
        db.execute("select outcome, sum(jobs)::int from pgqueue.stats_log group by 1").fetchall()
    )

    assert found == {"succeeded": 1, "partial": 1, "failed": 1, "cancelled": 2, "retrying": 1}


def test_merging_preserves_counts_and_sums(db: Db) -> None:
    """In portions, and repeated; the log is empty afterwards."""
    for _ in range(3):
        insert_many(db, 40)
        for job in claim(db, worker(db), 40):
            report(db, [job])
    before = row(db, f"{_TOTALS} from pgqueue.stats_log")
    merged = [value(db, "select pgqueue.merge_stats(50)") for _ in range(4)]

    assert merged == [50, 50, 20, 0]
    assert row(db, f"{_TOTALS} from pgqueue.stats") == before
    assert value(db, "select count(*) from pgqueue.stats_log") == 0
    assert value(db, "select count(*) from pgqueue.stats") < 40


def test_old_minutes_become_hours_without_workers(db: Db) -> None:
    """Counts survive; the hours of all workers are one row per bucket."""
    for _ in range(2):
        insert_many(db, 10)
        report(db, claim(db, worker(db)))
    db.execute("select pgqueue.merge_stats()")
    db.execute("update pgqueue.stats set starts_at = starts_at - interval '3 days'")
    before = row(db, f"{_TOTALS} from pgqueue.stats")
    for _ in range(2):
        db.execute("select pgqueue.merge_stats()")

    assert row(db, f"{_TOTALS} from pgqueue.stats") == before
    assert row(
        db,
        """select count(*) filter (where span <> 'hour' or worker_id is not null),
            bool_and(starts_at = date_trunc('hour', starts_at)) from pgqueue.stats""",
    ) == (0, True)


def test_hours_are_forgotten_after_a_year(db: Db) -> None:
    """And not before."""
    db.execute(
        """insert into pgqueue.stats (span, starts_at, job_type, queue, outcome, jobs, wait_seconds,
            run_seconds)
           select s.span, now() - s.age, 't', 'q', 'succeeded', 1, 0, 0
           from (values ('hour', interval '364 days'), ('hour', '366 days'),
               ('minute', '3 days')) s (span, age)"""
    )
    db.execute("select pgqueue.merge_stats()")

    assert row(db, "select count(*), sum(jobs) from pgqueue.stats") == (2, 2)


def test_buckets_follow_their_bounds(db: Db) -> None:
    """A wait of 15 ms lies between 10 and 20 ms; 2 days lie above the last bound."""
    for seconds in ("0.015", "172800"):
        db.execute(
            f"""select pgqueue.count_outcome('t', 'q', 1, 'succeeded',
                '2026-01-01 UTC', timestamptz '2026-01-01 UTC' + interval '{seconds} s',
                timestamptz '2026-01-01 UTC' + interval '{seconds} s')"""
        )
    found = db.execute(
        """select wait_bucket, run_bucket, (pgqueue.stats_bounds())[wait_bucket],
               (pgqueue.stats_bounds())[wait_bucket + 1]
           from pgqueue.stats_log order by 1"""
    ).fetchall()

    assert found == [(4, 0, 0.01, 0.02), (25, 0, 100000, None)]


def test_a_clock_that_runs_backwards_counts_as_zero(db: Db) -> None:
    """No negative sums."""
    db.execute(
        """select pgqueue.count_outcome('t', 'q', 1, 'succeeded', '2026-01-02', '2026-01-01',
            '2025-12-31')"""
    )

    assert row(db, "select wait_seconds, run_seconds, jobs from pgqueue.stats_log") == (0, 0, 1)
