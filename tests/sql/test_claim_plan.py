"""One plan of the claim at every size: no sort, no scan of a whole table, no row too many."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import claim, insert_many, report, row, value, worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_DEAD = 20_000
# The planner settings of a server that is tuned for something else.
_SESSIONS = {
    "generic": ["plan_cache_mode = force_generic_plan"],
    "custom": ["plan_cache_mode = force_custom_plan"],
    "no hash join": ["enable_hashjoin = off", "plan_cache_mode = force_generic_plan"],
    "no nested loop": ["enable_nestloop = off", "plan_cache_mode = force_generic_plan"],
    "no index scan": ["enable_indexscan = off", "enable_bitmapscan = off"],
    "parallel": ["parallel_setup_cost = 0", "parallel_tuple_cost = 0", "random_page_cost = 50"],
}
_STATEMENTS = ["limits of others", "no limit"]  # in this order
_TABLES = ("ready", "running", "jobs", "scheduled", "job_types", "queues")


def _parameters(db: Db, nth: int) -> str:
    """One of the claim's statements with its variables as parameters, as plpgsql prepares it."""
    body = value(db, "select prosrc from pg_proc where oid = 'pgqueue.claim'::regproc")
    statement = re.findall(r"with picked.*?from owned o(?=;)", body, re.DOTALL)[nth]
    names = {
        "p_queues": "text[]",
        "p_limit": "integer",
        "p_floors": "bigint[]",
        "p_worker": "bigint",
        "v_types": "text[]",
        "v_queues": "integer",
        "v_not_now": "text[]",
        "v_max_attempts": "integer",
        "v_commit": "text",
        "v_names": "text[]",
    }
    for number, name in enumerate(names, start=1):
        statement = re.sub(rf"\b{name}\b", f"${number}", statement)
    return f"prepare the_claim({', '.join(names.values())}) as {statement}"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _plan(db: Db, by: int, limit: int, nth: int) -> list[dict[str, Any]]:
    """The plan's nodes under the settings that the function carries."""
    with db.transaction():
        for setting in value(
            db, "select proconfig from pg_proc where oid = 'pgqueue.claim'::regproc"
        ):
            name, _, wanted = setting.partition("=")
            db.execute("select set_config(%s, %s, true)", (name, wanted))
        db.execute(_parameters(db, nth))
        found = value(
            db,
            "explain (format json) execute the_claim"
            f"('{{default,other}}', {limit}, '{{1,2,3}}', {by}, null, 2, null, 5, null, '{{t}}')",
        )
        db.execute("deallocate the_claim")
    return list(_nodes((found if isinstance(found, list) else json.loads(found))[0]["Plan"]))


@pytest.mark.parametrize("size", ["empty", "never analyzed", "analyzed", "huge on paper"])
@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("beside", _STATEMENTS)
def test_the_claim_neither_sorts_nor_scans_a_table(
    connect: Connect, size: str, mode: str, beside: str
) -> None:
    """Whatever the statistics say, ready is read through its claim index and the rest by key."""
    db = connect()
    by = worker(db)
    if size != "empty":
        insert_many(db, 3000)
        claim(db, by, 500)
    if size == "analyzed":
        db.execute("analyze")
    if size == "huge on paper":
        db.execute("analyze")
        db.execute(
            """update pg_class set reltuples = 1e8, relpages = 2000000
               where relnamespace = 'pgqueue'::regnamespace and relkind = 'r'"""
        )
    db.execute("select set_config('plan_cache_mode', %s, false)", (mode,))
    nodes = _plan(db, by, 100, _STATEMENTS.index(beside))
    types = {node["Node Type"] for node in nodes}
    indexes = {node.get("Index Name") for node in nodes}

    assert not {t for t in types if "Sort" in t or "Hash" in t or "Merge" in t or t == "Seq Scan"}
    assert {"ready_claim_key", "jobs_pkey"} <= indexes
    assert "Tid Scan" in types


@pytest.mark.parametrize("session", list(_SESSIONS))
def test_a_call_of_claim_reads_no_table_from_end_to_end(connect: Connect, session: str) -> None:
    """Counted by the server during the real call; the limit holds as well."""
    setup = connect()
    insert_many(setup, 3000)
    by = worker(setup)
    db = connect(autocommit=False)
    for setting in _SESSIONS[session]:
        db.execute(f"set {setting}")
    sizes = []
    for _ in range(7):  # the sixth call of a session may switch to the generic plan
        sizes.append(len(claim(db, by, 50, queues=["default", "other"])))
        db.commit()
    before = _sequential(db)
    sizes.append(len(claim(db, by, 50, queues=["default", "other"])))
    after = _sequential(db)
    db.commit()

    assert sizes == [50] * 8
    if session != "no index scan":
        assert {t: after[t] - before[t] for t in ("ready", "running", "jobs")} == {
            "ready": 0,
            "running": 0,
            "jobs": 0,
        }


def _sequential(db: Db) -> dict[str, int]:
    """Sequential scans that this transaction has started, per table."""
    found = db.execute(
        "select relname, seq_scan from pg_stat_xact_user_tables where schemaname = 'pgqueue'"
    ).fetchall()
    return {**dict.fromkeys(_TABLES, 0), **dict(found)}


def test_statistics_of_a_full_table_do_not_spoil_an_empty_one(db: Db) -> None:
    """Analyzed with 5,000 rows, then emptied: the limit and the order hold."""
    by = worker(db)
    insert_many(db, 5000)
    db.execute("analyze")
    for _ in range(5):
        report(db, claim(db, by, 1000))
    insert_many(db, 10)
    found = [len(claim(db, by, 4)) for _ in range(4)]

    assert found == [4, 4, 2, 0]


def _buffers(db: Db, query: str) -> int:
    plan = row(db, f"explain (analyze, buffers, format json) {query}")[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def test_under_a_held_snapshot_floors_keep_the_cost_of_a_claim(connect: Connect) -> None:
    """20,000 dead entries cost hundreds of buffers without floors, and nothing with them."""
    db, holder = connect(), connect(autocommit=False)
    db.execute("alter table pgqueue.ready set (autovacuum_enabled = off)")
    by = worker(db)
    insert_many(db, _DEAD + 10)
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select count(*) from pgqueue.ready")
    last = 0
    for _ in range(_DEAD // 4000):
        batch = claim(db, by, 4000)
        last = batch[-1].pos
        report(db, batch)
    claim_of = "select * from pgqueue.claim({}, '{{default}}', 1, {})"
    fresh = _buffers(db, claim_of.format(by, f"'{{0,{last + 1},0,0}}'"))
    floored = _buffers(db, claim_of.format(by, f"'{{0,{last + 2},0,0}}'"))
    without = _buffers(db, claim_of.format(by, "null"))
    holder.rollback()

    assert without > floored + 100
    assert abs(fresh - floored) <= 20
    assert floored < 120
