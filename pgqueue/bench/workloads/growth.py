"""
What a claim, an INSERT and the views cost when a backlog, a schedule or a history has grown.

An empty and a filled queue are measured in turns, call by call, in two databases: what is compared
has then met the same machine. Where only one database is to be had, the empty one comes first.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from pgqueue import calls
from pgqueue.bench.filling import in_parallel
from pgqueue.bench.model import Aim, Case, Figure, Unavailable, percentile
from pgqueue.bench.workloads.drain import QUEUE, registered_worker
from pgqueue.calls import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgqueue.bench.filling import Step
    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Stage

__all__ = ["cases"]

_MILLION = 1_000_000
_CHUNK = 250_000
_SIZES = (
    {"ready": 1},
    {"ready": 10},
    {"scheduled": 1},
    {"finished": 10},
    {"finished": 10, "ready": 1},
)
_AIMED = {"finished": 10, "ready": 1}
_LIMIT = 1.15
_ROUNDS = 50
_INSERTS = 200
_LOOKS = 9
_BATCH = 100
_VIEWS = ("queue_stats", "health", "job_status")
_BYTES_PER_JOB = 700  # tables, indexes and WAL, about
_FILLED_PER_SECOND = 120_000  # about


def cases(settings: BenchSettings) -> list[Case]:
    """Each size, times the scale."""
    found = []
    for millions in _SIZES:
        fill = {
            table: max(1, round(n * _MILLION * settings.scale)) for table, n in millions.items()
        }
        found.append(
            Case(
                workload="growth",
                name=" and ".join(f"{n:,} {table}" for table, n in fill.items()),
                measure=partial(_measure, fill=fill),
                aims=_aims() if millions == _AIMED else (),
                # Ten minutes of filling for the same figures: once, unless it is small.
                runs=1 if sum(fill.values()) > 2 * _MILLION else settings.long_runs,
                seconds=5 + sum(fill.values()) / _FILLED_PER_SECOND,
            )
        )
    return found


def _aims() -> tuple[Aim, ...]:
    named = ["claim and report 100", "INSERT of one", *(f"view {view}" for view in _VIEWS)]
    named.append("buffers of a claim of 100")
    return tuple(Aim(_over_empty(name), _LIMIT, least=False) for name in named)


def _over_empty(metric: str) -> str:
    return f"{metric} / empty"


def _measure(stage: Stage, *, fill: dict[str, int]) -> list[Figure]:
    _check_space(stage, sum(fill.values()))
    with ExitStack() as stack:
        empty = stack.enter_context(stage.twin())
        if empty is None:
            before = _look([stage])[0]
            _fill(stage, fill)
            after = _look([stage])[0]
        else:
            _fill(stage, fill)
            before, after = _look([empty, stage])
    found = []
    for metric, unit in {name: "" if "buffers" in name else "ms" for name in after}.items():
        found.append(Figure(metric, after[metric], unit))
        found.append(Figure(_over_empty(metric), after[metric] / before[metric], ""))
    return found


def _look(stages: Sequence[Stage]) -> list[dict[str, float]]:
    """Measure them in turns."""
    workers = []
    for stage in stages:
        stage.execute("vacuum")
        stage.execute("enqueue_noops", (_ROUNDS + 1) * _BATCH)
        workers.append(registered_worker(stage))
    found: list[dict[str, float]] = [{} for _ in stages]
    works = [partial(_work, stage, worker) for stage, worker in zip(stages, workers, strict=True)]
    _in_turns(found, "claim and report 100", _ROUNDS, works)
    inserts = [partial(stage.execute, "insert_one") for stage in stages]
    _in_turns(found, "INSERT of one", _INSERTS, inserts)
    for view in _VIEWS:
        looks = [partial(stage.execute, f"view_{view}") for stage in stages]
        _in_turns(found, f"view {view}", _LOOKS, looks)
    for into, stage, worker in zip(found, stages, workers, strict=True):
        (plan,) = stage.value("explain_claim", worker)
        blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        into["buffers of a claim of 100"] = float(blocks)
    return found


def _in_turns(
    found: list[dict[str, float]], metric: str, rounds: int, calls_: Sequence[Callable[[], object]]
) -> None:
    """Note the median milliseconds of each call under the metric's name."""
    taken: list[list[float]] = [[] for _ in calls_]
    for _ in range(rounds):
        for own, once in zip(taken, calls_, strict=True):
            began = time.perf_counter()
            once()
            own.append(time.perf_counter() - began)
    for into, own in zip(found, taken, strict=True):
        into[metric] = percentile(own, 0.5) * 1e3


def _check_space(stage: Stage, jobs: int) -> None:
    """
    Make sure that so many jobs fit, as far as that can be seen from here.

    Raises:
        Unavailable: They do not.
    """
    free = stage.server.free_bytes(stage.connection)
    if free is not None and free < 2 * jobs * _BYTES_PER_JOB:
        raise Unavailable(
            f"{jobs:,} jobs may need {2 * jobs * _BYTES_PER_JOB / 1e9:.1f} GB of disk"
        )


def _fill(stage: Stage, fill: dict[str, int]) -> None:
    """Put the rows where the functions would have moved them, as the schema's owner may."""
    stage.execute("routing_off")
    steps: list[Step] = [
        (
            ("fill_jobs", f"fill_{table}"),
            {"table": table, "first": first, "last": min(first + _CHUNK - 1, count)},
        )
        for table, count in fill.items()
        for first in range(1, count + 1, _CHUNK)
    ]
    in_parallel(stage, steps)
    stage.execute("routing_on")


def _work(stage: Stage, worker: int) -> None:
    """Claim a batch and report it, as a worker without floors does."""
    claimed = run(stage.connection, calls.claim(worker, queues=[QUEUE], limit=_BATCH))
    run(
        stage.connection,
        calls.report([job.job_id for job in claimed], [job.token for job in claimed]),
    )
