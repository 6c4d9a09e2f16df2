"""
How fast waiting jobs are run: whole worker processes, beside the SQL alone.

The workers are idle when the jobs are committed in one transaction; that is when the clock starts.
It stops with the last job's finished_at. Every job goes through the whole lifecycle and is kept.
"""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from pgqueue import calls
from pgqueue.bench.model import Aim, Case, Figure, Of, Unavailable
from pgqueue.bench.processes import workers
from pgqueue.bench.queries import statement
from pgqueue.calls import run

if TYPE_CHECKING:
    from pgqueue.bench.processes import Processes
    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Counters, Stage

__all__ = ["QUEUE", "cases", "drained", "figures_of", "registered_worker"]

CONCURRENCY = 500
WARM_UP_JOBS = 1_000
# As many as a claim of those workers takes. In batches of 100 the SQL alone did 46,000 jobs/s
# instead of 112,000, with four clients: a floor that flatters.
BATCH = CONCURRENCY
_SECONDS_MAX = 600.0
LEASE = dt.timedelta(hours=1)
QUEUE = "default"
_WHOLE_WAL = "WAL with the INSERT"
_AIM = Aim("rate", 0.6, least=True, of=Of.FLOOR)
_AIMED = 4


def cases(settings: BenchSettings) -> list[Case]:
    """Worker processes and the SQL alone, for each number of them."""
    found = []
    for count in settings.processes:
        floor = f"SQL alone, {count} client{'s' * (count > 1)}"
        name = f"{count} worker process{'es' * (count > 1)}"
        found += [
            Case(
                workload="drain",
                name=floor,
                measure=partial(_sql_alone, clients=count),
                aims=(Aim(_WHOLE_WAL, 1_100, least=False),),
                seconds=1 + settings.jobs / (30_000 * count**0.5),
            ),
            Case(
                workload="drain",
                name=name,
                measure=partial(_workers, processes=count),
                floor=floor,
                aims=(_AIM,) if count == _AIMED else (),
                seconds=2.5 + settings.jobs / (15_000 * count**0.5),
            ),
        ]
    return found


def drained(stage: Stage, jobs: int, *, job_type: str = "bench_noop", since: float) -> float:
    """
    Wait until *jobs* jobs are done; when the last one was, by the server's clock.

    Args:
        stage: Where.
        jobs: How many must be done.
        job_type: Of which type.
        since: By the server's clock; older ones do not count.

    Raises:
        Unavailable: Some were not run.
    """
    stage.wait(lambda: not stage.value("unfinished"), "the queue is empty", seconds=_SECONDS_MAX)
    count, _, last = stage.row("finished", job_type, since)
    if count != jobs:
        raise Unavailable(f"{count} of {jobs} jobs succeeded")
    return float(last)


def figures_of(
    jobs: int,
    seconds: float,
    before: Counters,
    after: Counters,
    worker_seconds: float | None = None,
) -> list[Figure]:
    """Rate, WAL, and CPU time per job where it is known."""
    found = [
        Figure("rate", jobs / seconds, "jobs/s"),
        Figure("WAL", (after.wal - before.wal) / jobs, "B/job"),
    ]
    if before.cpu is not None and after.cpu is not None:
        found.append(Figure("server CPU", (after.cpu - before.cpu) / jobs * 1e6, "µs/job"))
    if worker_seconds is not None:
        found.append(Figure("worker CPU", worker_seconds / jobs * 1e6, "µs/job"))
    return found


def registered_worker(stage: Stage) -> int:
    """Register a worker that need not heartbeat while it is measured."""
    call = calls.register_worker(
        "bench", instance=uuid4(), queues=[QUEUE], job_types=None, lease=LEASE
    )
    return run(stage.connection, call)


def _workers(stage: Stage, *, processes: int) -> list[Figure]:
    jobs = stage.settings.jobs
    with workers(stage, processes=processes, concurrency=CONCURRENCY) as found:
        began = float(stage.value("clock"))
        stage.execute("enqueue_noops", WARM_UP_JOBS)
        drained(stage, WARM_UP_JOBS, since=began)
        used = found.cpu_seconds()
        stage.execute("enqueue_noops", jobs)
        began = float(stage.value("clock"))
        before = stage.counters()
        ended = drained(stage, jobs, since=began)
        figures = figures_of(jobs, ended - began, before, stage.counters(), _used(found, used))
        found.check()
    return figures


def _used(found: Processes, before: float | None) -> float | None:
    after = found.cpu_seconds()
    return None if before is None or after is None else after - before


def _sql_alone(stage: Stage, *, clients: int) -> list[Figure]:
    if stage.pgbench is None:
        raise Unavailable("no pgbench found")
    jobs = stage.settings.jobs
    worker = registered_worker(stage)
    enqueued = stage.counters()
    stage.execute("enqueue_noops", jobs)
    before = stage.counters()
    began = float(stage.value("clock"))
    stage.pgbench.run(
        stage.dsn,
        statement("script_exchange"),
        clients=clients,
        # Enough for a quick client to go on, and one that reports the last batch; the rest find
        # nothing, after the time that counts.
        transactions=-(-2 * jobs // (clients * BATCH)) + 1,
        variables={"worker": worker, "batch": BATCH, "floor": 0, "ids": "{}", "tokens": "{}"},
    )
    count, first, last = stage.row("finished", "bench_noop", began)
    if count != jobs:
        raise Unavailable(f"{count} of {jobs} jobs were reported")
    after = stage.counters()
    figures = figures_of(count, last - first, before, after)
    return [*figures, Figure(_WHOLE_WAL, (after.wal - enqueued.wal) / jobs, "B/job")]
