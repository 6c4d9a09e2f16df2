"""What others configure costs nobody else: the life of plain jobs, counted by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgqueue.bench.queries import statement
from pgqueue.bench.workloads.flow import FEATURES, configure
from tests.support.costs import CLAIM, ENQUEUE, ENQUEUE_FUNCTION, REPORT, Cost, cost
from tests.support.sqljobs import value, worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgqueue.bench.workloads.flow import Feature
    from tests.support.sqljobs import Db

_BATCH = 100
_DEEP = 3_000  # lives that make every index as deep as it will be
_LIVES = 6
_MORE_MAX = 1.03
# Counted 1.026 on PostgreSQL 15 beside signals, 1.01 beside limits and ordering keys.
_BUFFERS_MORE_MAX_BEFORE_18 = 1.05


def _life(db: Db, by: int, jobs: int, *, lives: int = _LIVES) -> Cost:
    """Enqueue, claim and report so many; the cheapest of some: no full-page image in it."""
    found = []
    for _ in range(lives):
        parts = [cost(db, ENQUEUE, jobs, "bench_noop")[0]]
        floor = value(
            db, "select min(pos) from pgqueue.ready where queue = 'default' and priority = 1"
        )
        parts += [cost(db, CLAIM, by, jobs, floor)[0], cost(db, REPORT)[0]]
        assert value(db, "select count(*) from pgqueue.running") == 0
        found.append(Cost(*map(sum, zip(*parts, strict=True))))
    return Cost(*map(min, zip(*found, strict=True)))


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_a_plain_job_pays_nothing_for_what_others_use(
    dsn: str, db: Db, feature: Feature, figure: Callable[[str], None]
) -> None:
    """WAL and buffers within 3 % of none configured (before 18: buffers within 5 %)."""
    db.execute(statement("install"))
    db.execute(statement("flow_prepare"))
    by = worker(db, lease="1 hour")
    db.execute(ENQUEUE_FUNCTION)
    _life(db, by, _DEEP, lives=1)
    alone, before = _life(db, by, 1), _life(db, by, _BATCH)
    configure(db, dsn, feature, feature.others)
    single, after = _life(db, by, 1), _life(db, by, _BATCH)
    figure(f"{feature.name} of others: buffers of 100 lives {before.buffers} -> {after.buffers}")
    recent = db.info.server_version >= 180_000
    most = _MORE_MAX if recent else _BUFFERS_MORE_MAX_BEFORE_18

    assert after.buffers <= most * before.buffers
    assert after.wal_bytes <= _MORE_MAX * before.wal_bytes
    assert single.wal_bytes <= _MORE_MAX * alone.wal_bytes
