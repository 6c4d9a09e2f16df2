"""
From INSERT to handler: how long an idle worker takes, beside a bare notification.

The clock starts when the producer sends its INSERT (one statement, committed at once) and stops
when the handler starts, or the listener has the notification.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pgqueue.bench.model import FLOOR, Aim, Case, Figure, Of, Unavailable, latencies
from pgqueue.bench.processes import helper, stamps_of, workers
from pgqueue.bench.stamps import read_stamps

if TYPE_CHECKING:
    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Stage

__all__ = ["RATIO_AIM", "cases", "spread_out"]

RATIO_AIM = Aim("p99 / p50", 2.5, least=False)

CONCURRENCY = 50
# Above the 50 ms within which a worker takes jobs for a stream and does not sleep between them.
_PAUSES = (0.08, 0.16)
_SETTLE_SECONDS = 60.0
_ARRIVE_SECONDS = 30.0
_CONNECTIONS_PER_WORKER = 3
_FLOOR = "bare NOTIFY"


def cases(settings: BenchSettings) -> list[Case]:
    """A bare notification and a bare loop, one idle worker, many with one slot and with fifty."""
    many = settings.idle_workers
    found = [
        Case(workload="latency", name=_FLOOR, measure=partial(_heard, words=()), system=FLOOR),
        Case(
            workload="latency",
            name="bare psycopg loop",
            measure=partial(_heard, words=("loop",)),
            system=FLOOR,
            floor=_FLOOR,
        ),
        Case(
            workload="latency",
            name="1 idle worker",
            measure=_one,
            floor=_FLOOR,
            aims=(Aim("p50", 1.0, least=False, of=Of.ABOVE_FLOOR), RATIO_AIM),
        ),
        *(
            Case(
                workload="latency",
                name=f"{many} idle workers of {slots} slot{'s' * (slots > 1)}",
                measure=partial(_many, count=many, slots=slots),
                floor=_FLOOR,
                aims=(Aim("claims", 3, least=False),),
                seconds=many / 20,
            )
            for slots in (1, CONCURRENCY)
        ),
    ]
    own = 2 + settings.warm_seconds + settings.latency_jobs * sum(_PAUSES) / 2
    return [replace(case, seconds=case.seconds + own) for case in found]


def spread_out(stage: Stage, query: str) -> list[float]:
    """
    Send jobs one at a time and wait until all have been seen; seconds from sending to seeing.

    Args:
        stage: Where.
        query: Inserts one job that carries the time.

    Raises:
        WaitTimeout: One never arrived.
    """
    path, count = stamps_of(stage), stage.settings.latency_jobs
    known = len(read_stamps(path))
    for _ in range(count):
        time.sleep(random.uniform(*_PAUSES))  # noqa: S311  # no secret
        stage.execute(query, time.time())
    stage.wait(
        lambda: len(read_stamps(path)) >= known + count, "all jobs start", seconds=_ARRIVE_SECONDS
    )
    return [seen - sent for sent, seen in read_stamps(path)[known:]]


def _warm_up(stage: Stage, query: str) -> None:
    """Let the first one through: it may wait for a process to start."""
    path = stamps_of(stage)
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not read_stamps(path):
        if time.monotonic() > deadline:
            raise Unavailable("nobody listens")
        stage.execute(query, time.time())
        time.sleep(_PAUSES[1])
    time.sleep(stage.settings.warm_seconds)


def _heard(stage: Stage, *, words: tuple[str, ...]) -> list[Figure]:
    with helper(stage, "pgqueue.bench.listener", *words) as found:
        _warm_up(stage, "notify_stamp")
        figures = latencies(spread_out(stage, "notify_stamp"))
        found.check()
    return figures


def _one(stage: Stage) -> list[Figure]:
    with workers(stage, processes=1, concurrency=CONCURRENCY) as found:
        _warm_up(stage, "insert_stamp")
        figures = latencies(spread_out(stage, "insert_stamp"))
        found.check()
    return figures


def _many(stage: Stage, *, count: int, slots: int) -> list[Figure]:
    needed = count * _CONNECTIONS_PER_WORKER
    if needed > stage.server.connections:
        raise Unavailable(
            f"{count} workers need {needed} connections, the server has {stage.server.connections}"
        )
    with helper(stage, "pgqueue.bench.idlers", str(count), str(slots)) as found:

        def at_rest() -> bool:
            return found.check() and stage.value("doors") >= count

        stage.wait(at_rest, "all workers are at rest", seconds=_SETTLE_SECONDS)
        _warm_up(stage, "insert_stamp")

        def claims() -> int:
            (process,) = found.running
            assert process.stdin is not None
            known = found.log.read_text().count("claims ")
            process.stdin.write(b"\n")
            process.stdin.flush()
            stage.wait(
                lambda: found.log.read_text().count("claims ") > known, "an answer", seconds=10
            )
            return int(found.log.read_text().rpartition("claims ")[2])

        before = claims()
        seconds = spread_out(stage, "insert_stamp")
        per_job = (claims() - before) / len(seconds)
        if per_job < 1:
            raise Unavailable("claims were not counted: the worker claims by another call now")
    return [*latencies(seconds), Figure("claims", per_job, "per job")]
