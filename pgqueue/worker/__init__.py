"""
The worker: claims jobs, runs their handlers, reports how they ended.

One process is one asyncio loop with three connections of its own, under load a fourth, beside the
pools that transactional handlers use. Each part has a module; who talks to the database about what:

    engine        decides when to claim, report and sleep
    exchange      claims and reports, in one round trip        connection "worker"
    reporter      reports meanwhile, when claims come full     connection "reports"
    doorbell      sleeps until a job arrives, see doorbell.sql  connection "doorbell"
    membership    registers, heartbeats, hears cancellations    connection "control"
    messages      progress and extended time limits             connection "control"
    maintenance   promotes due jobs, rescues lost ones          connection "control"
    transaction   a handler's writes with its completion        pools

    claimed ──> Executor.start ──> task | thread | process ──> Ending ──> Outbox.add ──> reported
                      ^ stop: time limit, cancel, lost lease, shutdown

A worker that is killed at any point loses nothing: what it owned goes back when its lease ends.
"""

from __future__ import annotations

from pgqueue.worker.settings import WorkerSettings
from pgqueue.worker.supervisor import run_supervised
from pgqueue.worker.worker import Worker

__all__ = ["Worker", "WorkerSettings", "run_supervised"]
