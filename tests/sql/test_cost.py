"""Operations on one job cost the same among ten waiting jobs and among two hundred thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.sqljobs import column, insert_many, row

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_MANY = 200_000
# Each level of a B-tree that 200,000 rows add costs one buffer per descent.
_TOLERANCE = 60
_OPERATIONS = (
    "select pgqueue.reprioritise('{}', 0)",
    "select pgqueue.reschedule('{}', '2100-01-01')",
    "select pgqueue.retry('{}')",
    "select pgqueue.claim_job((select max(id) from pgqueue.workers), '{}')",
    "select pgqueue.cancel('{}')",
    """select pgqueue.fail('{}', (select token from pgqueue.running where job_id = '{}'),
        null, false)""",
    "select pgqueue.retry('{}')",
    "select pgqueue.cancel('{}')",
)


def _buffers(db: Db, query: str) -> int:
    plan = row(db, f"explain (analyze, buffers, format json) {query}")[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def _costs(db: Db) -> list[int]:
    """Buffers of each operation on one job, the second time (plans are cached)."""
    found: list[int] = []
    middle = column(db, "select job_id from pgqueue.ready order by pos offset 4 limit 2")
    for job_id in middle:
        found = [_buffers(db, query.format(job_id, job_id)) for query in _OPERATIONS]
    return found


def test_operations_by_id_cost_the_same_at_every_size(db: Db) -> None:
    """Counted in buffers, which no other load changes; a scan would be thousands."""
    db.execute("select pgqueue.register_worker('w', p_lease => '1 hour')")
    insert_many(db, 10)
    few = _costs(db)
    insert_many(db, _MANY)
    db.execute("analyze")
    many = _costs(db)
    grown = [after - before for before, after in zip(few, many, strict=True)]

    assert [
        (query, by) for query, by in zip(_OPERATIONS, grown, strict=True) if by > _TOLERANCE
    ] == []
    assert max(many) < 500
