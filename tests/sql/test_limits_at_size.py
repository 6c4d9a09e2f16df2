"""
What limits cost: a claim does not feel how many jobs are parked, or at how many gates.

`make at-size` asks for a million at 100,000 keys; the suite makes do with 20,000.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import insert_many, row, worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sqljobs import Db

_SIZES = (100, 20_000)
_CLAIM = "select * from pgqueue.claim(%s, '{default}', 10)"


def _buffers(db: Db, query: str, *values: object) -> int:
    found = row(db, f"explain (analyze, buffers, format json) {query}", *values)[0]
    plan = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _park(db: Db, jobs: int, keys: int) -> None:
    """Fill the tables directly: *jobs* parked at *keys* gates, one job of each key running."""
    db.execute(
        """insert into pgqueue.jobs (job_type, queue, concurrency_key)
        select 't', 'parked', 'k' || n %% %s from generate_series(1, %s) n""",
        (keys, jobs + keys),
    )
    by = worker(db, ["parked"])
    db.execute("analyze pgqueue.jobs")
    db.execute(
        """create temp table filled as
        select r.*, l.id || '::' || j.concurrency_key as gate,
            nextval('pgqueue.token_seq') as token,
            row_number() over (partition by j.concurrency_key order by r.pos) = 1 as first
        from pgqueue.ready r
        join pgqueue.jobs j on j.id = r.job_id
        cross join (select id from pgqueue.limits where kind = 'key') l
        where r.queue = 'parked'"""
    )
    db.execute("delete from pgqueue.ready where queue = 'parked'")
    db.execute(
        """insert into pgqueue.running (job_id, token, worker_id, ready_at, started_at, attempt,
            flags, priority, queue, job_type)
        select job_id, token, %s, ready_at, now(), 1, 32, priority, queue, job_type
        from filled where first""",
        (by,),
    )
    db.execute(
        """insert into pgqueue.slots (job_id, token, gate)
        select job_id, token, gate from filled where first"""
    )
    db.execute(
        """insert into pgqueue.blocked (job_id, reason, gate, pos, ready_at, queue, priority,
            job_type)
        select job_id, 'limit', gate, pos, ready_at, queue, priority, job_type
        from filled where not first"""
    )
    db.execute("drop table filled")


def _round(db: Db, by: int) -> tuple[int, int, int]:
    """Buffers of: a claim of ten other jobs; the end of one limited job; the claim of the next."""
    insert_many(db, 10)
    plain = _buffers(db, _CLAIM, by)
    job = row(db, "select r.job_id, r.token from pgqueue.running r where r.flags = 32 limit 1")
    end = _buffers(db, "select pgqueue.complete(%s, %s)", *job)
    following = _buffers(db, "select * from pgqueue.claim(%s, '{parked}', 10)", by)
    db.execute("delete from pgqueue.running where flags = 0")
    return plain, end, following


@pytest.mark.breaks_invariants
def test_a_claim_costs_the_same_however_many_jobs_are_parked(
    db: Db, figure: Callable[[str], None]
) -> None:
    """By buffers: at 100 parked jobs and at 20,000, ten to a key."""
    db.execute("select pgqueue.set_limit('key', '*', 1)")
    sizes = [int(n) for n in os.environ.get("LIMITS_SIZES", "").split()] or _SIZES
    by = worker(db)
    found = []
    for size in sizes:
        _park(db, size, size // 10)
        db.execute("vacuum analyze")
        _round(db, by)
        found.append(min(_round(db, by) for _ in range(3)))
        figure(f"{size} parked: {found[-1]} buffers (10 plain jobs, an end, the next one)")
    db.execute("delete from pgqueue.ready")

    assert all(big <= 1.3 * small + 10 for small, big in zip(found[0], found[-1], strict=True))
