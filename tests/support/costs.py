"""What a batch of plain jobs costs the server in its life: enqueue, claim, report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.sqljobs import row

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

# Inside a function, so that EXPLAIN counts the triggers as well.
ENQUEUE_FUNCTION = """
create function pg_temp.enqueue(p_jobs integer, p_job_type text) returns void language plpgsql as $$
begin
    insert into pgqueue.jobs (job_type, payload)
    select p_job_type, '{"n": 1}' from generate_series(1, p_jobs);
end
$$
"""
ENQUEUE = "select pg_temp.enqueue(%s, %s)"
CLAIM = "select * from pgqueue.claim(%s, '{default}', %s, array[0, %s, 0, 0]::bigint[])"
REPORT = (
    "select * from pgqueue.report((select array_agg(job_id order by token) from pgqueue.running),"
    " (select array_agg(token order by token) from pgqueue.running))"
)


class Cost(NamedTuple):
    """Of one statement, or of some."""

    buffers: int
    wal_bytes: int


def cost(db: Db, query: str, *values: Any) -> tuple[Cost, bool]:
    """What it cost, and whether full-page images, which depend on the checkpoints, were in it."""
    found = row(db, f"explain (analyze, buffers, wal, format json) {query}", *values)[0]
    top = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    buffers = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return Cost(buffers, top["WAL Bytes"]), top["WAL FPI"] > 0
