"""What a worker calls costs the same at every size, and while another session holds a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import claim, column, insert_many, report, row, worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import Connect
    from tests.support.sqljobs import Claimed, Db

_BATCH = 100
_BATCHES = 120
_TABLES = ("jobs", "ready", "running", "scheduled", "finished", "attempts")
_STATISTICS = {
    "never analyzed": (),
    "analyzed": ("analyze",),
    "huge on paper": (
        "analyze",
        """update pg_class set reltuples = 1e8, relpages = 2000000
           where relnamespace = 'pgqueue'::regnamespace and relkind = 'r'""",
    ),
}
_OF_ONE = "(select job_id from pgqueue.{} order by job_id limit 1)"
# Every call that a busy worker and its producers make.
_CALLS = {
    "report": (
        "select * from pgqueue.report((select array_agg(job_id) from (table picked) x),"
        " (select array_agg(token) from (table picked) x))"
    ),
    "report with results": (
        "select * from pgqueue.report((select array_agg(job_id) from (table picked) x),"
        " (select array_agg(token) from (table picked) x),"
        """ (select array_agg('{"result": 1}'::text) from (table picked) x))"""
    ),
    "enqueue": "insert into pgqueue.jobs (job_type) values ('t')",
    "enqueue by function": "select pgqueue.enqueue('t', p_unique_key => 'key')",
    "promote": "select * from pgqueue.promote(100)",
    "rescue": "select pgqueue.rescue()",
    "expire": "select pgqueue.expire()",
    "retain": "select pgqueue.retain()",
}


def _buffers(db: Db, query: str, *values: Any) -> int:
    found = row(db, f"explain (analyze, buffers, format json) {query}", *values)[0][0]["Plan"]
    return int(found["Shared Hit Blocks"]) + int(found["Shared Read Blocks"])


def _drain(db: Db, by: int) -> list[tuple[int, int]]:
    """Buffers of each claim and of each report, batch after batch, with floors as workers do."""
    found, floor = [], 0
    for _ in range(_BATCHES):
        claimed = _buffers(
            db,
            "select * from pgqueue.claim(%s, '{default}', %s, array[0, %s, 0, 0]::bigint[])",
            by,
            _BATCH,
            floor,
        )
        (floor,) = row(
            db,
            "select 1 + max(s.last_value) - 65536 * (select count(*) from pgqueue.ready)"
            " from pgqueue.position_seq s",
        )
        jobs, tokens = row(db, "select array_agg(job_id), array_agg(token) from pgqueue.running")
        assert len(jobs) == _BATCH
        reported = _buffers(db, "select * from pgqueue.report(%s, %s)", jobs, tokens)
        found.append((claimed, reported))
    return found


@pytest.mark.parametrize("holds", ["a snapshot", "a snapshot and a transaction id"])
def test_a_held_snapshot_leaves_claims_and_completions_as_cheap(
    connect: Connect, holds: str
) -> None:
    """12,000 dead rows in ready and in running: the last batches read no more than the first."""
    db, holder = connect(), connect(autocommit=False)
    insert_many(db, _BATCH * (_BATCHES + 1))
    by = worker(db, lease="1 hour")
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select count(*) from pgqueue.ready")
    if holds != "a snapshot":
        holder.execute("select pg_current_xact_id()")
    costs = _drain(db, by)
    holder.rollback()
    # The first ones read the catalogue.
    first, last = costs[10:30], costs[-20:]

    for part in (0, 1):
        assert _median(last, part) <= 1.1 * _median(first, part)
        assert max(cost[part] for cost in last) <= 1.5 * _median(first, part)


def _median(costs: Sequence[tuple[int, int]], part: int) -> int:
    return sorted(cost[part] for cost in costs)[len(costs) // 2]


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan", "auto"])
@pytest.mark.parametrize("statistics", list(_STATISTICS))
def test_no_call_reads_a_table_from_end_to_end(
    connect: Connect, statistics: str, mode: str
) -> None:
    """Counted by the server during the calls, the sixth of a session and later ones."""
    setup = connect()
    by = worker(setup, lease="1 hour")
    insert_many(setup, 3_000)
    setup.execute(
        "insert into pgqueue.jobs (job_type, run_at) select 't', clock_timestamp()"
        " + n * interval '1 day' from generate_series(1, 3000) n"
    )
    report(setup, claim(setup, by, 1_000))
    running = claim(setup, by, 1_000)
    for statement in _STATISTICS[statistics]:
        setup.execute(statement)
    db = connect(autocommit=False)
    db.execute("select set_config('plan_cache_mode', %s, false)", (mode,))
    scans = {name: _scans(db, query, running) for name, query in _CALLS.items()}
    waiting = column(setup, f"select {_OF_ONE.format('ready')}")
    scans["cancel"] = _scans(db, f"select pgqueue.cancel('{waiting[0]}')", running)

    assert {name: found for name, found in scans.items() if found} == {}


def _scans(db: Db, query: str, running: list[Claimed]) -> dict[str, int]:
    """The tables that *query* scanned, and how often, when it ran for the seventh time."""
    for turn in range(7):
        picked = [running.pop() for _ in range(5)]
        db.execute("create temp table picked (job_id uuid, token bigint) on commit drop")
        with db.cursor() as cursor:
            cursor.executemany("insert into picked values (%s, %s)", [job.owned for job in picked])
        before = _counted(db)
        db.execute(query)
        after = _counted(db)
        if turn < 6:
            db.commit()
    db.rollback()
    return {t: after[t] - before[t] for t in _TABLES if after[t] > before[t]}


def _counted(db: Db) -> dict[str, int]:
    """Sequential scans that this transaction has started."""
    found = db.execute(
        "select relname, seq_scan from pg_stat_xact_user_tables where schemaname = 'pgqueue'"
    ).fetchall()
    return {**dict.fromkeys(_TABLES, 0), **dict(found)}
