"""
One job per transaction, beside a plain table of the same shape, with and without NOTIFY.

The plain table has the columns of jobs, their defaults and the primary key: no other index, no
CHECK, no trigger. It is what an application would insert into if there were no queue.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pgqueue.bench.model import FLOOR, OURS, Aim, Case, Figure, Of
from pgqueue.bench.processes import workers
from pgqueue.bench.producing import transactions_per_second

if TYPE_CHECKING:
    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Stage

__all__ = ["cases"]

_WORKER_BESIDE = 8
_AIM = Aim("rate", 0.75, least=True, of=Of.FLOOR)
_AIMED = (1, 8, 32)
_EXTRA_SECONDS = 0.2
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
                    aims=(_AIM,) if script == "insert_jobs" and clients in _AIMED else (),
                    seconds=settings.seconds + _EXTRA_SECONDS,
                )
            )
        if clients == _WORKER_BESIDE:
            found.append(
                Case(
                    workload="enqueue",
                    name=f"INSERT, {told}, a worker running them",
                    measure=partial(_beside_worker, clients=clients),
                    floor=floor,
                    seconds=settings.seconds + 3,
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
