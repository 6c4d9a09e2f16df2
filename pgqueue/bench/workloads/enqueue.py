"""One job per transaction, beside a plain table of the same shape, with and without NOTIFY."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pgqueue.bench.model import FLOOR, OURS, Case, Figure
from pgqueue.bench.processes import workers
from pgqueue.bench.producing import transactions_per_second

if TYPE_CHECKING:
    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Stage

__all__ = ["cases"]

_WORKER_BESIDE = 8
_CONCURRENCY = 500


def cases(settings: BenchSettings) -> list[Case]:
    """The cases for each number of producers."""
    found = []
    for clients in settings.producers:
        told = f"{clients} producer{'s' * (clients > 1)}"
        floor = f"plain table, {told}"
        for name, script, beside in (
            (floor, "insert_plain", None),
            (f"plain table and NOTIFY, {told}", "insert_plain_notify", floor),
            (f"INSERT, {told}", "insert_jobs", floor),
        ):
            measure = partial(_measure, script=script, clients=clients)
            found.append(
                Case(
                    workload="enqueue",
                    name=name,
                    measure=measure,
                    floor=beside,
                    system=OURS if script == "insert_jobs" else FLOOR,
                )
            )
        if clients == _WORKER_BESIDE:
            found.append(
                Case(
                    workload="enqueue",
                    name=f"INSERT, {told}, a worker running them",
                    measure=partial(_beside_worker, clients=clients),
                    floor=floor,
                )
            )
    return found


def _measure(stage: Stage, *, script: str, clients: int) -> list[Figure]:
    rate = transactions_per_second(stage, script, clients=clients)
    return [Figure("rate", rate, "jobs/s")]


def _beside_worker(stage: Stage, *, clients: int) -> list[Figure]:
    with workers(stage, processes=1, concurrency=_CONCURRENCY) as found:
        figures = _measure(stage, script="insert_jobs", clients=clients)
        found.check()
    return figures
