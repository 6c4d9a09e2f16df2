"""Jobs with the heaviest features on, so that nobody is fooled by no-ops."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from pgqueue.bench.model import Case, Figure
from pgqueue.bench.processes import workers
from pgqueue.bench.workloads.drain import drained, figures_of

if TYPE_CHECKING:
    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Stage

__all__ = ["cases"]

# Each running transactional handler has a connection of its own.
_CONCURRENCY = 16
_CHUNK = 1_000
_PER_SECOND = 800  # about


def cases(settings: BenchSettings) -> list[Case]:
    """By the smallest and the largest number of worker processes."""
    return [
        Case(
            workload="features",
            name=f"unique keys, results, progress, a transaction per job; {n} worker process"
            f"{'es' * (n > 1)}",
            measure=partial(_measure, processes=n),
            runs=settings.long_runs,
            seconds=3 + settings.heavy_jobs / (_PER_SECOND * n**0.6),
        )
        for n in settings.processes
    ]


def _measure(stage: Stage, *, processes: int) -> list[Figure]:
    jobs = stage.settings.heavy_jobs
    began = time.monotonic()
    for first in range(1, jobs + 1, _CHUNK):
        stage.execute("enqueue_many_keyed", first, min(first + _CHUNK - 1, jobs))
    enqueueing = jobs / (time.monotonic() - began)
    since = float(stage.value("clock"))
    before = stage.counters()
    with workers(stage, processes=processes, concurrency=_CONCURRENCY):
        first_seen = float(stage.value("clock"))
        done = stage.row("finished", "bench_heavy", since)[0]
        ended = drained(stage, jobs, job_type="bench_heavy", since=since)
        figures = figures_of(jobs - done, ended - first_seen, before, stage.counters())
    return [Figure("enqueue", enqueueing, "jobs/s"), *figures]
