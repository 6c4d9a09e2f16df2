"""What charging costs, counted by the server, and that jobs without a price pay nothing for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.sqljobs import row, value, worker
from tests.workers.metering.money import deposit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sqljobs import Db

_BATCH = 100
# Inside a function, so that EXPLAIN counts the trigger as well.
_ENQUEUE = """
create or replace function pg_temp.enqueue(p_job_type text) returns void language plpgsql as $$
begin
    insert into pgqueue.jobs (job_type, headers)
    select p_job_type, '{"customer": "acme"}' from generate_series(1, 100);
end
$$
"""
_REPORT = (
    "select * from pgqueue.report((select array_agg(job_id order by token) from pgqueue.running),"
    " (select array_agg(token order by token) from pgqueue.running))"
)
# Per job of a batch of 100 for one customer; counted 21 and 20 buffers on PostgreSQL 18, and on 15
# and 16 37 for a report.
_PRICED_MAX = {"enqueue": 26.0, "report": 26.0}
_PRICED_MAX_BEFORE_18 = {"enqueue": 26.0, "report": 45.0}


class Cost(NamedTuple):
    """Per job."""

    buffers: float
    wal_bytes: float


def _cost(db: Db, query: str, *values: Any) -> Cost:
    found = row(db, f"explain (analyze, buffers, wal, format json) {query}", *values)[0]
    top = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    buffers = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return Cost(buffers / _BATCH, top["WAL Bytes"] / _BATCH)


def _life(db: Db, job_type: str) -> dict[str, Cost]:
    """The third batch: the first two plan, and read the catalogue."""
    by = worker(db, lease="1 hour")
    db.execute(_ENQUEUE)
    costs = {}
    for _ in range(3):
        enqueue = _cost(db, "select pg_temp.enqueue(%s)", job_type)
        found = value(db, "select count(*) from pgqueue.claim(%s, '{default}', 100)", by)
        assert found == _BATCH
        costs = {"enqueue": enqueue, "report": _cost(db, _REPORT)}
        db.execute("select pgqueue.maintain()")
    return costs


def test_charging_costs_so_many_buffers_per_job(shop: Db, figure: Callable[[str], None]) -> None:
    """A reservation, its deletion and an entry per job; one row of the wallet's per statement."""
    deposit(shop, 1_000_000)
    shop.execute("select pgqueue.maintain()")
    plain, priced = _life(shop, "free"), _life(shop, "picture")
    for name, cost in priced.items():
        figure(
            f"charging: {name}, buffers per job {plain[name].buffers:.1f} -> {cost.buffers:.1f},"
            f" WAL {plain[name].wal_bytes:.0f} -> {cost.wal_bytes:.0f} B"
        )

    most = _PRICED_MAX if shop.info.server_version >= 180_000 else _PRICED_MAX_BEFORE_18
    assert {n: c for n, c in priced.items() if c.buffers > most[n]} == {}


def test_a_job_without_a_price_pays_nothing(shop: Db) -> None:
    """Neither its insert nor its report looks at a table of hooks or of metering."""
    query = (
        "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del + seq_scan + idx_scan), 0)"
        " from pg_stat_xact_user_tables where schemaname = 'metering'"
        " or relname in ('hooks', 'hook_calls')"
    )
    by = worker(shop)
    shop.execute(_ENQUEUE)
    with shop.transaction():
        before = value(shop, query)  # what earlier transactions did may still be in it
        shop.execute("select pg_temp.enqueue('free')")
        shop.execute("select count(*) from pgqueue.claim(%s, '{default}', 100)", (by,))
        shop.execute(_REPORT)
        after = value(shop, query)

    assert after == before
