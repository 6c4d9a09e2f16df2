"""What a claim, an INSERT and the views cost when a backlog, a schedule or a history has grown."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from pgqueue import calls
from pgqueue.bench.model import Case, Figure, percentile
from pgqueue.bench.workloads.drain import QUEUE, registered_worker
from pgqueue.calls import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Stage

__all__ = ["cases"]

_MILLION = 1_000_000
_CHUNK = 500_000
_FLOOR = "empty"
_ROUNDS = 30
_INSERTS = 200
_BATCH = 100
_VIEWS = ("queue_stats", "health", "job_status")


def cases(settings: BenchSettings) -> list[Case]:
    """An empty queue, and what the issue of growth is about, times the scale."""
    sizes = (
        ({"ready": 1}, None),
        ({"ready": 10}, 1),
        ({"scheduled": 1}, None),
        ({"finished": 10}, 1),
        ({"finished": 10, "ready": 1}, 1),
    )
    found = [Case(workload="growth", name=_FLOOR, measure=partial(_measure, fill={}))]
    for millions, runs_max in sizes:
        million = _MILLION * settings.scale
        fill = {table: max(1, round(n * million)) for table, n in millions.items()}
        name = " and ".join(f"{n:,} {table}" for table, n in fill.items())
        found.append(
            Case(
                workload="growth",
                name=name,
                measure=partial(_measure, fill=fill),
                floor=_FLOOR,
                runs_max=runs_max,
            )
        )
    return found


def _measure(stage: Stage, *, fill: dict[str, int]) -> list[Figure]:
    _fill(stage, fill)
    inserting = _median(_INSERTS, lambda: stage.execute("insert_one"))
    stage.execute("enqueue_noops", _ROUNDS * _BATCH)
    worker = registered_worker(stage)
    working = _median(_ROUNDS, lambda: _work(stage, worker))
    figures = [
        Figure("claim and report 100", working * 1e3, "ms"),
        Figure("INSERT of one", inserting * 1e3, "ms"),
    ]
    for view in _VIEWS:
        seconds = _median(5, lambda view=view: stage.execute(f"view_{view}"))  # type: ignore[misc]
        figures.append(Figure(f"view {view}", seconds * 1e3, "ms"))
    stage.execute("enqueue_noops", _BATCH)
    (plan,) = stage.value("explain_claim", worker)
    blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return [*figures, Figure("buffers of a claim of 100", float(blocks), "")]


def _fill(stage: Stage, fill: dict[str, int]) -> None:
    """Put the rows where the functions would have moved them, as the schema's owner may."""
    stage.execute("routing_off")
    for table, count in fill.items():
        left = count
        while left > 0:
            stage.execute(f"fill_{table}", min(left, _CHUNK))
            left -= _CHUNK
    stage.execute("routing_on")
    stage.execute("vacuum")


def _work(stage: Stage, worker: int) -> None:
    """Claim a batch and report it, as a worker without floors does."""
    claimed = run(stage.connection, calls.claim(worker, queues=[QUEUE], limit=_BATCH))
    run(
        stage.connection,
        calls.report([job.job_id for job in claimed], [job.token for job in claimed]),
    )


def _median(rounds: int, once: Callable[[], None]) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        once()
        taken.append(time.perf_counter() - began)
    return percentile(taken, 0.5)
