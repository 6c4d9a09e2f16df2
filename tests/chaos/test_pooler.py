"""PgBouncer in transaction mode: producers behind it lose nothing, workers behind it poll."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.chaos.machinery.pooler import Pooler
from tests.chaos.machinery.stage import Stage, seconds_until
from tests.support.workers import enqueue, reaches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Figure = Callable[[str, object], None]

pytestmark = pytest.mark.scenario
POLL = 0.5
PRODUCERS = 16
KEYS = 50
POLLING = "no notifications arrive, polling instead"


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A server."""
    reason = Pooler.missing()
    if reason is not None:
        pytest.skip(reason)
    with Stage() as stage:
        yield stage


def produce(dsn: str, number: int) -> int:
    """Insert KEYS jobs, one transaction each; all producers use the same keys. How many went in."""
    with psycopg.connect(dsn, prepare_threshold=None, connect_timeout=10) as conn:
        inserted = 0
        for key in range(KEYS):
            done = conn.execute(
                "insert into pgqueue.jobs (job_type, unique_key, payload, run_at)"
                " values ('nothing', %s, '{}', now() + interval '1 hour')"
                " on conflict do nothing returning id",
                (f"key {(key + number) % KEYS}",),
            )
            inserted += len(done.fetchall())
            conn.commit()
    return inserted


def test_producers_behind_a_pooler_make_no_duplicates(
    stage: Stage, record_property: Figure
) -> None:
    """16 producers insert the same 50 unique keys by plain INSERT: 50 jobs."""
    with Pooler(stage.server, stage.directory) as pooler, ThreadPoolExecutor(PRODUCERS) as threads:
        dsn = make_conninfo(stage.dsn(), **pooler.route)
        began = time.monotonic()
        inserted = sum(threads.map(lambda number: produce(dsn, number), range(PRODUCERS)))
        took = time.monotonic() - began
    rows = (
        stage.db()
        .execute("select count(*), count(distinct unique_key) from pgqueue.jobs")
        .fetchall()
    )
    record_property("inserts, of which accepted", f"{PRODUCERS * KEYS}, {inserted} in {took:.1f} s")
    record_property("duplicates", inserted - KEYS)

    assert inserted == KEYS
    assert rows == [(KEYS, KEYS)]


def test_a_worker_behind_a_pooler_says_so_once_and_polls(
    stage: Stage, record_property: Figure
) -> None:
    """Every job is done, none waits for longer than the poll interval and its jitter."""
    db = stage.db()
    db.execute("create table public.written (job_id uuid)")
    with Pooler(stage.server, stage.directory) as pooler:
        dsn = make_conninfo(stage.dsn(), **pooler.route)
        began = time.monotonic()
        worker = stage.worker("pooled", dsn=dsn, poll_seconds=POLL)
        started = time.monotonic() - began
        waits = [_wait(db) for _ in range(10)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: _bulk(dsn), range(4)))
        drained = seconds_until(
            lambda: db.execute("select count(*) from pgqueue.finished").fetchall() == [(1010,)]
        )
        pooler.restart()
        back = seconds_until(lambda: "database connection back" in worker.said)
        job = enqueue(db, "write_in_task")
        reaches(db, job, "succeeded", seconds=30)
    rows = db.execute(
        "select status, count(*) from pgqueue.finished group by 1 order by 1"
    ).fetchall()
    record_property("detected and registered after", f"{started:.1f} s")
    record_property(f"longest wait of single jobs (poll {POLL:g} s)", f"{max(waits):.2f} s")
    record_property("1,000 jobs in bulk done after", f"{drained:.1f} s")
    record_property("back after a restart of the pooler", f"{back:.1f} s")

    assert worker.said.count(POLLING) == 1
    assert max(waits) <= POLL * 1.2 + 0.5
    assert rows == [("succeeded", 1011)]


def test_a_pooler_that_refuses_options_is_named_and_the_setting_helps(
    stage: Stage, record_property: Figure
) -> None:
    """As Debian configures it: the worker ends with the variable to set, and works with it."""
    with Pooler(stage.server, stage.directory, ignore_options=False) as pooler:
        dsn = make_conninfo(stage.dsn(), **pooler.route)
        began = time.monotonic()
        refused = stage.worker("refused", dsn=dsn, until="PGQUEUE_POOLER=1")
        code = refused.ends()
        took = time.monotonic() - began
        helped = {"PGQUEUE_POOLER": "1"}
        stage.worker("helped", dsn=dsn, environment=helped, poll_seconds=POLL)
        wait = _wait(stage.db())
    record_property("refused after", f"{took:.1f} s, exit {code}")
    record_property("wait with PGQUEUE_POOLER=1", f"{wait:.2f} s")

    assert code != 0
    assert wait <= POLL * 1.2 + 0.5


def _wait(db: psycopg.Connection[tuple[object, ...]]) -> float:
    job = enqueue(db, "nothing")
    began = time.monotonic()
    reaches(db, job, "succeeded")
    return time.monotonic() - began


def _bulk(dsn: str) -> None:
    with psycopg.connect(dsn, prepare_threshold=None, connect_timeout=10) as conn:
        conn.execute(
            "insert into pgqueue.jobs (job_type, payload) select 'nothing', %s::jsonb"
            " from generate_series(1, 250)",
            (json.dumps({}),),
        )
