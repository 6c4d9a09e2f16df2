"""
A steady stream of single-job transactions, one worker process: latency, and what a job costs.

Server CPU is that of all processes of the server: the producers' backends, the WAL writer,
autovacuum, and backends that have ended. WAL and commits are those of a job's whole life. The floor
is a plain table at the same rate, without any queue: from sending the INSERT to its commit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pgqueue.bench.model import FLOOR, Aim, Case, Figure, Unavailable, latencies
from pgqueue.bench.pgbench import read_log, stop
from pgqueue.bench.processes import stamps_of, workers
from pgqueue.bench.queries import statement
from pgqueue.bench.stamps import read_stamps

if TYPE_CHECKING:
    from pathlib import Path

    from pgqueue.bench.processes import Processes
    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Counters, Stage

__all__ = ["cases", "stream"]

CONCURRENCY = 500
CLIENTS = 16  # enough for 5,000 transactions per second beside the worker
_WARM_UP_SHARE = 0.2
_PINGS = 20
_EMPTY_SECONDS = 60.0
_GRACE_SECONDS = 120.0
_AIMS = {
    1_000: (
        Aim("p99", 10, least=False),
        Aim("server CPU", 0.53, least=False),
        Aim("WAL", 1_300, least=False),
    ),
    # So many of the jobs that should be enqueued and started each second were; one in a hundred is
    # left to chance.
    5_000: (Aim("kept up", 0.99, least=True),),
}

Pair = tuple[float, float]  # when it was sent, and seen


@dataclass(frozen=True, slots=True)
class _Window:
    """What was counted between two moments of a load, and how much it sent in all."""

    warm_at: float
    cold_at: float
    before: Counters
    after: Counters
    worker_cpu: float | None
    rate: float
    transactions: int


def cases(settings: BenchSettings) -> list[Case]:
    """Each rate, beside a plain table."""
    found = []
    for rate in settings.rates:
        floor = f"plain table, {rate:,} rows/s"
        found += [
            Case(
                workload="steady",
                name=floor,
                measure=partial(_plain, rate=rate),
                system=FLOOR,
                runs=settings.long_runs,
                seconds=settings.long_seconds,
            ),
            Case(
                workload="steady",
                name=f"{rate:,} jobs/s",
                measure=partial(_measure, rate=rate),
                floor=floor,
                aims=_AIMS.get(rate, ()),
                runs=settings.long_runs,
                seconds=settings.long_seconds + 3,
            ),
        ]
    return found


def stream(stage: Stage, found: Processes, rate: int) -> tuple[list[Pair], list[Figure]]:
    """
    Enqueue at *rate* for the stage's long time, and look at a worker that runs the jobs.

    Args:
        stage: Where.
        found: The worker.
        rate: Jobs per second; each has a transaction of its own.

    Returns:
        When each job was inserted and when its handler started, once warm; and what they cost.

    Raises:
        Unavailable: There is no pgbench.
    """
    offset = _clock_offset(stage)
    load = _load(stage, "script_insert_stamp", rate, found)
    path = stamps_of(stage)
    stage.wait(
        lambda: found.check() and len(read_stamps(path)) >= load.transactions,
        "the worker keeps up",
        seconds=_EMPTY_SECONDS,
    )
    pairs = [(sent - offset, seen) for sent, seen in read_stamps(path)]
    pairs = [pair for pair in pairs if load.warm_at <= pair[1] <= load.cold_at]
    if not pairs:
        raise Unavailable("no job ran in time")
    return pairs, [*_costs(len(pairs), load), *_pace(pairs, load.rate, rate)]


def _measure(stage: Stage, *, rate: int) -> list[Figure]:
    with workers(stage, processes=1, concurrency=CONCURRENCY) as found:
        pairs, figures = stream(stage, found, rate)
    return [*latencies([seen - sent for sent, seen in pairs]), *figures]


def _plain(stage: Stage, *, rate: int) -> list[Figure]:
    log = stage.folder / "plain"
    load = _load(stage, "script_insert_plain", rate, None, log=log)
    took = [one for ended, one in read_log(log) if load.warm_at <= ended <= load.cold_at]
    return [*latencies(took), *_costs(len(took), load)]


def _load(
    stage: Stage, script: str, rate: int, found: Processes | None, *, log: Path | None = None
) -> _Window:
    """Run *script* at *rate*, and read what is counted when all is warm and just before the end."""
    if stage.pgbench is None:
        raise Unavailable("no pgbench found")
    seconds = max(2.0, stage.settings.long_seconds)
    process = stage.pgbench.start(
        stage.dsn, statement(script), clients=CLIENTS, seconds=seconds, rate=rate, log=log
    )
    try:
        began = time.monotonic()
        time.sleep(seconds * _WARM_UP_SHARE)
        warm_at, before, worker = time.time(), stage.counters(), _cpu(found)
        time.sleep(max(0.1, seconds * 0.98 - (time.monotonic() - began)))
        after, worker_after, cold_at = stage.counters(), _cpu(found), time.time()
        load = stage.pgbench.finish(process, seconds=_GRACE_SECONDS)
    finally:
        stop(process)
    cpu = None if worker is None or worker_after is None else worker_after - worker
    return _Window(warm_at, cold_at, before, after, cpu, load.rate, load.transactions)


def _cpu(found: Processes | None) -> float | None:
    return None if found is None else found.cpu_seconds()


def _costs(jobs: int, load: _Window) -> list[Figure]:
    before, after = load.before, load.after
    found = [
        Figure("WAL", (after.wal - before.wal) / jobs, "B/job"),
        Figure("commits", (after.commits - before.commits) / jobs, "per job"),
    ]
    if before.cpu is not None and after.cpu is not None:
        found.append(Figure("server CPU", (after.cpu - before.cpu) / jobs * 1e3, "ms/job"))
    if load.worker_cpu is not None:
        found.append(Figure("worker CPU", load.worker_cpu / jobs * 1e3, "ms/job"))
    return found


def _pace(pairs: list[Pair], sent_rate: float, rate: int) -> list[Figure]:
    seen = [time_seen for _, time_seen in pairs]
    span = max(seen) - min(seen)
    started = len(seen) / span if span > 0 else float(rate)
    return [
        Figure("enqueued", sent_rate, "jobs/s"),
        Figure("started", started, "jobs/s"),
        Figure("kept up", started / rate, ""),
    ]


def _clock_offset(stage: Stage) -> float:
    """By how much the server's clock is ahead of ours; the quickest of some asks knows best."""
    best: tuple[float, float] | None = None
    for _ in range(_PINGS):
        asked = time.time()
        told = float(stage.value("clock"))
        heard = time.time()
        if best is None or heard - asked < best[0]:
            best = (heard - asked, told - (asked + heard) / 2)
    assert best is not None
    return best[1] if not stage.server.local else 0.0
