"""What tenant_stats says about each tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.sqljobs import claim, column, insert, report, row, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db


def test_each_tenant_has_a_row_with_its_jobs_by_status(db: Db) -> None:
    """Those without a tenant are the tenant ''."""
    for tenant in ("a", "a", "b", None):
        insert(db, tenant_id=tenant)
    parent = insert(db, tenant_id="a", priority=3)
    insert(db, tenant_id="a", depends_on=(parent,))
    insert(db, tenant_id="b", run_at="2100-01-01")
    one, two, three = claim(db, worker(db), 3)
    report(
        db,
        [one, two],
        [{"do": "fail", "retryable": False}, {"do": "fail", "retry_after_seconds": 900}],
    )
    found = db.execute(
        "select tenant_id, queued, scheduled, retrying, blocked, running, finished_hour,"
        " failed_hour, counted_in_full from pgqueue.tenant_stats order by 1"
    ).fetchall()

    assert [three.tenant_id] == ["b"]
    assert found == [
        ("", 1, 0, 0, 0, 0, 0, 0, True),
        ("a", 1, 0, 1, 1, 0, 1, 1, True),
        ("b", 0, 1, 0, 0, 1, 0, 0, True),
    ]


def test_a_tenant_shows_what_was_set_for_it_before_its_first_job(db: Db) -> None:
    """Weight, quotas, and who is confined to it."""
    db.execute("select pgqueue.set_tenant_quota('a', 10, 2000)")
    db.execute("select pgqueue.set_tenant_weight('a', 3)")
    empty = row(
        db, "select weight, waiting_max, waiting_bytes_max, waiting_bytes from pgqueue.tenant_stats"
    )
    insert(db, tenant_id="a")
    db.execute("select pgqueue.count_tenants()")

    assert empty == (3.0, 10, 2000, None)
    assert value(db, "select waiting_bytes between 1 and 100 from pgqueue.tenant_stats")
    assert value(db, "select oldest_queued_at <= now() from pgqueue.tenant_stats")


def test_beyond_a_hundred_thousand_it_says_that_it_has_not_counted_all(db: Db) -> None:
    """Bounds, in less than the time of counting."""
    db.execute(
        "insert into pgqueue.jobs (job_type, tenant_id) select 't', 'a'"
        " from generate_series(1, 100001)"
    )

    assert column(db, "select queued from pgqueue.tenant_stats where not counted_in_full") == [
        100_000
    ]
