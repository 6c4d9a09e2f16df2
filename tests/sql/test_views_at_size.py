"""
The views stay cheap when the tables are large: bounds on plans and buffers, not on times.

One database for all of it: 200,000 finished jobs, 60,000 ready in 20 lanes, 20,000 scheduled,
2,000 running and blocked, a day of statistics. With and without the planner's statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.cluster import CONNECT_SECONDS
from tests.support.databases import scratch_database
from tests.support.sqljobs import column, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_postgresql.executors import NoopExecutor

    from tests.support.cluster import Cluster
    from tests.support.sqljobs import Db

_FILL = """
set session_replication_role = replica;
create temp table n as
select n, pgqueue.uuid_v7() as id, 't' || n % 10 as job_type, 'q' || n % 5 as queue,
    (n / 5 % 4)::smallint as priority
from generate_series(1, 284000) n;
insert into pgqueue.jobs (id, job_type, queue, priority)
select id, job_type, queue, priority from n;
insert into pgqueue.finished (job_id, status, job_type, queue, token, attempt, worker_id,
    ready_at, started_at, finished_at)
select id, case when n % 10 = 0 then 'failed' else 'succeeded' end, job_type, queue, n, 2, 1,
    now(), now(), now() - n * interval '1 second'
from n where n <= 200000;
insert into pgqueue.attempts (job_id, token, attempt, outcome, started_at)
select id, n + 1000000, 1, 'retrying', now() from n where n <= 200000 and n % 4 = 0;
insert into pgqueue.job_results (job_id, entity_type, entity_id)
select id, 'Order', n::text from n where n <= 200000 and n % 4 = 0;
insert into pgqueue.ready (job_id, queue, priority, job_type)
select id, queue, priority, job_type from n where n between 200001 and 260000;
insert into pgqueue.scheduled (job_id, due_at, reason, queue, priority, job_type)
select id, now() + n * interval '1 second', 'run_at', queue, priority, job_type
from n where n between 260001 and 280000;
insert into pgqueue.running (job_id, token, worker_id, attempt, queue, priority, job_type, flags,
    ready_at, started_at)
select id, n, 1, 1, queue, priority, job_type, 0, now(), now()
from n where n between 280001 and 282000;
insert into pgqueue.blocked (job_id, reason, waits_for, queue, priority, job_type)
select id, 'follow_up', id, queue, priority, job_type from n where n > 282000;
insert into pgqueue.stats (span, starts_at, job_type, queue, worker_id, outcome, wait_bucket,
    run_bucket, jobs, wait_seconds, run_seconds)
select 'minute', date_trunc('minute', now()) - m * interval '1 minute', 't' || t, 'q' || t % 5, 1,
    'succeeded', 3, 4, 10, 0.05, 0.1
from generate_series(0, 1439) m, generate_series(0, 9) t;
insert into pgqueue.batches (total, succeeded, created_at, closed_at, finished_at)
select 1, 1, now() - interval '30 days', now(), now() from generate_series(1, 20000);
insert into pgqueue.batches (total, succeeded, created_at)
select 1, 1, now() - interval '30 days' from generate_series(1, 200);
insert into pgqueue.batch_log (batch_id, succeeded)
select b.id, 1 from pgqueue.batches b where b.closed_at is not null;
"""
_FILLED = [
    "jobs",
    "finished",
    "ready",
    "scheduled",
    "running",
    "stats",
    "attempts",
    "batches",
    "batch_log",
]
_SMALL = {"settings", "job_types", "queues", "workers"}


@pytest.fixture(scope="module", params=["without statistics", "analyzed"])
def large(
    cluster: Cluster, schema_template: NoopExecutor, request: pytest.FixtureRequest
) -> Iterator[Db]:
    """A database with the rows above."""
    with (
        scratch_database(cluster, template=schema_template.template_dbname) as dsn,
        psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as db,
    ):
        for table in _FILLED:
            db.execute(f"alter table pgqueue.{table} set (autovacuum_enabled = off)")
        db.execute(_FILL)
        if request.param == "analyzed":
            db.execute("analyze")
        yield db


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _explain(db: Db, query: str) -> tuple[int, set[str], bool]:
    """Buffers, the tables that were read from end to end, and whether the query was compiled."""
    (found,) = value(db, f"explain (analyze, buffers, format json) {query}")
    plan = found["Plan"]
    buffers = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    whole = {
        node["Relation Name"]
        for node in _nodes(plan)
        if node["Node Type"] == "Seq Scan" and node["Actual Loops"] > 0
    }
    return buffers, whole - _SMALL, "JIT" in found


def _ids(db: Db) -> list[str]:
    """One job of each place."""
    places = ("finished", "ready", "scheduled", "running", "blocked")
    return [
        str(column(db, f"select job_id from pgqueue.{place} offset 1500 limit 1")[0])
        for place in places
    ]


@pytest.mark.parametrize("view", ["job_status where id", "job_timeline where job_id"])
def test_one_job_costs_a_handful_of_index_probes(large: Db, view: str) -> None:
    """Wherever it is: below 60 buffers, no table read from end to end."""
    found = [_explain(large, f"select * from pgqueue.{view} = '{job}'") for job in _ids(large)]

    assert max(buffers for buffers, _, _ in found) < 60
    assert set().union(*(whole for _, whole, _ in found)) == set()


def test_the_latest_jobs_cost_as_many_probes_as_there_are_rows(large: Db) -> None:
    """ORDER BY id DESC LIMIT 50: 50 times a single job at most."""
    buffers, whole, compiled = _explain(
        large, "select * from pgqueue.job_status order by id desc limit 50"
    )

    assert buffers < 50 * 60
    assert (whole - {"running", "blocked"}, compiled) == (set(), False)


def test_joining_job_status_to_a_table_of_ones_own_probes_by_id(large: Db) -> None:
    """As an application does that keeps job ids next to its orders."""
    with large.transaction(force_rollback=True):
        large.execute(
            "create temp table orders as select job_id from pgqueue.finished limit 20;"
            " analyze orders"
        )
        buffers, whole, _ = _explain(
            large, "select o.*, s.status from orders o join pgqueue.job_status s on s.id = o.job_id"
        )

    assert buffers < 20 * 60
    assert whole - {"running", "blocked"} == {"orders"}


def test_columns_that_nobody_asks_for_cost_nothing(large: Db) -> None:
    """Without state columns the state tables are not even joined."""
    query = "select id, job_type, created_at from pgqueue.job_status where id = '{}'"
    buffers = max(_explain(large, query.format(job))[0] for job in _ids(large))

    assert buffers <= 5


def test_the_latest_failures_cost_as_many_probes_as_there_are_rows(large: Db) -> None:
    """Along the partial index, newest first."""
    buffers, whole, compiled = _explain(
        large, "select * from pgqueue.failed_jobs order by failed_at desc limit 50"
    )

    assert buffers < 50 * 10
    assert (whole, compiled) == (set(), False)


@pytest.mark.parametrize(
    ("view", "allowed"),
    [
        # What it counts is small (running, blocked) or capped (scheduled).
        ("queue_stats", {"running", "blocked", "scheduled", "stats_log"}),
        ("job_type_stats", {"stats", "stats_log"}),
        ("ready_lanes", set()),
        ("unhandled", {"scheduled"}),
        ("worker_status", {"running", "stats_log"}),
        ("running_jobs", {"running"}),
        ("health", {"running", "scheduled", "stats_log", "maintenance_failures"}),
    ],
)
def test_no_view_of_the_whole_reads_history(large: Db, view: str, allowed: set[str]) -> None:
    """Neither jobs nor finished from end to end; and no plan is so dear that it is compiled."""
    _, whole, compiled = _explain(large, f"select * from pgqueue.{view}")

    assert {name for name in whole if not name.startswith("pg_")} <= allowed
    assert not compiled


def test_failures_are_counted_without_a_look_at_them(large: Db) -> None:
    """The 10,000 latest, each with nine successes beside it: from the index alone."""
    large.execute("vacuum pgqueue.finished")
    (found,) = value(
        large, "explain (analyze, buffers, format json) select * from pgqueue.queue_stats"
    )
    (scan,) = [
        node for node in _nodes(found["Plan"]) if node.get("Index Name") == "finished_failed_idx"
    ]

    assert (scan["Node Type"], scan["Heap Fetches"]) == ("Index Only Scan", 0)
    assert scan["Shared Hit Blocks"] + scan["Shared Read Blocks"] < 200


def test_lanes_are_found_by_skipping(large: Db) -> None:
    """20 lanes in 60,000 rows: a few buffers each."""
    lanes = value(large, "select count(*) from pgqueue.ready_lanes")
    buffers, _, _ = _explain(large, "select * from pgqueue.ready_lanes")

    assert lanes == 20
    assert buffers < 20 * 10


def test_counts_stop_at_their_limit(large: Db) -> None:
    """The 10,000 latest of 20,000 failures are counted, and the view says that it stopped."""
    found = large.execute(
        "select sum(failed), bool_and(others_capped), sum(depth), bool_or(depth_capped)"
        " from pgqueue.queue_stats"
    ).fetchone()

    assert found == (10_000, True, 60_000, False)
