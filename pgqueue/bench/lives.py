"""
What batches of jobs cost on one connection, from the INSERT to the report, in databases in turns.

A life is a batch: it is inserted, then claimed and reported until none is left. Each call is
measured by itself, so that what lies between two of them (counters read, the queue prepared) costs
nothing; of all lives the median counts, which a checkpoint or an autovacuum does not move.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgqueue.bench.model import Unavailable
from pgqueue.bench.workloads.drain import registered_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgqueue.bench.stage import Stage

__all__ = ["BATCH", "Cost", "Lives", "Way", "in_turns", "median"]

BATCH = 100  # as the statements say
_WARM_UP = 4  # the first ones read the catalogue, plan, and are prepared
# About a second's worth: workers call maintain() once a second.
_BETWEEN_MAINTENANCE = 20
_TURNS_MAX = 10
_SINGLES = 5  # in each round
_NANO = 1e-9


@dataclass(frozen=True, slots=True)
class Cost:
    """
    Of some calls.

    Attributes:
        seconds: Until the answer.
        cpu: Seconds of the server process that answered; None if they cannot be seen.
        wal: Bytes, of the whole server.
        buffers: Blocks that were looked at, of the whole database.
    """

    seconds: float = 0.0
    cpu: float | None = 0.0
    wal: float = 0.0
    buffers: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        cpu = None if self.cpu is None or other.cpu is None else self.cpu + other.cpu
        return Cost(
            self.seconds + other.seconds, cpu, self.wal + other.wal, self.buffers + other.buffers
        )

    def per(self, count: int) -> Cost:
        """
        Divide.

        Args:
            count: How many jobs it was for.
        """
        cpu = None if self.cpu is None else self.cpu / count
        return Cost(self.seconds / count, cpu, self.wal / count, self.buffers / count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """
    How a batch lives: names of statements.

    Attributes:
        insert: Enqueues it.
        before: Comes first, and is not measured.
        between: Comes after the INSERT, and is not measured.
        first: Comes before the first claim, and is.
        pauses: Each job waits for a signal once.
    """

    insert: str = "insert_plain"
    before: str | None = None
    between: str | None = None
    first: str | None = None
    pauses: bool = False


class Lives:
    """
    The batches of one database.

    Args:
        stage: Which.
        way: How they live.
    """

    def __init__(self, stage: Stage, way: Way) -> None:
        self._stage = stage
        self._way = way
        self.handed_out = 0
        self._worker = registered_worker(stage)
        pid = stage.connection.info.backend_pid
        self._schedule = None if stage.server.postmaster is None else Path(f"/proc/{pid}/schedstat")

    def live(self) -> dict[str, Cost]:
        """One batch: what `enqueue` and `drain` cost."""
        way = self._way
        self._run(way.before)
        enqueue = self.cost(partial(self._stage.execute, way.insert))
        self._run(way.between)
        floor = self._stage.value("head")
        drain = Cost()
        if way.first is not None:
            drain = self.cost(partial(self._stage.execute, way.first))
        left = BATCH
        if way.pauses:
            drain += self.cost(partial(self._pause, floor))
        for _ in range(_TURNS_MAX):
            drain += self.cost(partial(self.turn, floor, BATCH))
            left -= self.handed_out
            if left == 0:
                return {"enqueue": enqueue, "drain": drain}
        raise Unavailable(f"{left} of {BATCH} jobs were not handed out")

    def one(self) -> Cost:
        """Enqueue one plain job; it goes again, which is not measured."""
        found = self.cost(partial(self._stage.execute, "insert_one"))
        self.turn(self._stage.value("head"), 1)
        return found

    def maintain(self) -> Cost:
        """What every worker does once a second."""
        return self.cost(partial(self._stage.execute, "maintain"))

    def turn(self, floor: int, limit: int) -> None:
        """
        Claim and report; `handed_out` says how many jobs.

        Args:
            floor: Of every priority.
            limit: How many at most.
        """
        self.handed_out, jobs, tokens = self._stage.row("claim_batch", self._worker, limit, floor)
        self._stage.execute("report_batch", jobs, tokens)

    def cost(self, call: Callable[[], object]) -> Cost:
        """
        Measure one call.

        Args:
            call: On the stage's connection.
        """
        wal, buffers = self._counters()
        cpu, began = self._cpu(), time.perf_counter()
        call()
        seconds, used = time.perf_counter() - began, self._cpu()
        wal_after, buffers_after = self._counters()
        return Cost(
            seconds,
            None if cpu is None or used is None else used - cpu,
            wal_after - wal,
            buffers_after - buffers,
        )

    def _run(self, name: str | None) -> None:
        if name is not None:
            self._stage.execute(name)

    def _pause(self, floor: int) -> None:
        _, jobs, tokens = self._stage.row("claim_batch", self._worker, BATCH, floor)
        self._stage.execute("pause_batch", jobs, tokens)
        self._stage.execute("signal_batch", jobs)

    def _counters(self) -> tuple[float, float]:
        self._stage.execute("flush_counters")
        wal, buffers = self._stage.row("work_counters")
        return wal, buffers

    def _cpu(self) -> float | None:
        # In nanoseconds; /proc/PID/stat counts ticks of 10 ms, five batches long.
        if self._schedule is None:
            return None
        try:
            return int(self._schedule.read_text("ascii").split()[0]) * _NANO
        except OSError:
            return None


def in_turns(lives: Sequence[Lives], rounds: int, *, single: bool) -> list[dict[str, Cost]]:
    """
    Let batches live in each database in turns; the median costs of each, by part.

    Args:
        lives: The databases.
        rounds: How many batches in each.
        single: Whether an INSERT of one job is measured, too.

    Returns:
        `enqueue`, `drain`, `maintain`; `one`.
    """
    taken: list[dict[str, list[Cost]]] = [{} for _ in lives]

    def note(costs: dict[str, list[Cost]], part: str, cost: Cost, *, warm: bool) -> None:
        if warm:
            costs.setdefault(part, []).append(cost)

    for n in range(rounds + _WARM_UP):
        # Neither always goes first: what drifts favours none.
        for own, costs in list(zip(lives, taken, strict=True))[:: 1 if n % 2 else -1]:
            warm = n >= _WARM_UP
            for part, cost in own.live().items():
                note(costs, part, cost, warm=warm)
            for _ in range(_SINGLES if single else 0):
                note(costs, "one", own.one(), warm=warm)
            if n % _BETWEEN_MAINTENANCE == _WARM_UP - 1 or n == rounds + _WARM_UP - 1:
                note(costs, "maintain", own.maintain(), warm=warm)
    return [{part: median(costs) for part, costs in found.items()} for found in taken]


def median(costs: Iterable[Cost]) -> Cost:
    """
    The median of each number.

    Args:
        costs: At least one.
    """
    found = list(costs)
    cpus: list[Any] = [cost.cpu for cost in found]
    return Cost(
        statistics.median(cost.seconds for cost in found),
        None if None in cpus else statistics.median(cpus),
        statistics.median(cost.wal for cost in found),
        statistics.median(cost.buffers for cost in found),
    )
