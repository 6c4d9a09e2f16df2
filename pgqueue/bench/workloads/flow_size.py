"""Claims under limits and in order, beside a million parked jobs of 100,000 keys and beside few."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from pgqueue.bench.filling import in_parallel
from pgqueue.bench.lives import Lives, Way, median
from pgqueue.bench.model import Aim, Case, Figure, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgqueue.bench.lives import Cost
    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Stage

__all__ = ["cases"]

_FEW_JOBS = 1_000
_FEW_KEYS = 10
_MANY_JOBS = 1_000_000  # at scale 1
_JOBS_PER_KEY = 10
_AT_ONCE = 10  # keys, of each of which one job runs
_ROUNDS = 60
_WARM_UP = 5
_CHUNK = 50_000
_LIMIT = 1.15
_FILLED_PER_SECOND = 50_000  # about


def cases(settings: BenchSettings) -> list[Case]:
    """Limits per key, and ordering keys."""
    jobs = max(_FEW_JOBS, round(_MANY_JOBS * settings.scale))
    told = f"claim and report {_AT_ONCE}"
    aims = tuple(Aim(f"{name} / few", _LIMIT, least=False) for name in (told, f"buffers of {told}"))
    return [
        Case(
            workload="flow",
            name=f"{what}, {jobs:,} jobs of {jobs // _JOBS_PER_KEY:,} keys parked",
            measure=partial(_measure, kind=kind, jobs=jobs),
            aims=aims,
            runs=1 if jobs > _CHUNK else settings.long_runs,
            seconds=5 + jobs / _FILLED_PER_SECOND,
        )
        for what, kind in (("limit per key", "limited"), ("ordering keys", "ordered"))
    ]


def _measure(stage: Stage, *, kind: str, jobs: int) -> list[Figure]:
    keys = jobs // _JOBS_PER_KEY
    with ExitStack() as stack:
        few = stack.enter_context(stage.twin())
        if few is None:
            _fill(stage, kind, 1, _FEW_JOBS, _FEW_KEYS)
            before = _look([stage], kind, [_FEW_KEYS])[0]
            _fill(stage, kind, _FEW_JOBS + 1, jobs, keys)
            after = _look([stage], kind, [keys])[0]
        else:
            _fill(few, kind, 1, _FEW_JOBS, _FEW_KEYS)
            _fill(stage, kind, 1, jobs, keys)
            before, after = _look([few, stage], kind, [_FEW_KEYS, keys])
    told = f"claim and report {_AT_ONCE}"
    found = [
        Figure(told, after.seconds * 1e3, "ms"),
        Figure(f"{told} / few", after.seconds / before.seconds, ""),
        Figure(f"buffers of {told}", after.buffers, ""),
        Figure(f"buffers of {told} / few", after.buffers / before.buffers, ""),
    ]
    if after.cpu is not None and before.cpu:
        found.append(Figure(f"CPU of {told} / few", after.cpu / before.cpu, ""))
    return found


def _look(stages: Sequence[Stage], kind: str, keys: Sequence[int]) -> list[Cost]:
    """In turns: of ten keys a job ends and the next one starts, again and again."""
    lives = [Lives(stage, Way()) for stage in stages]
    taken: list[list[Cost]] = [[] for _ in stages]
    for stage in stages:
        stage.execute("vacuum_gates")
    for n in range(_ROUNDS + _WARM_UP):
        for stage, own, costs, count in zip(stages, lives, taken, keys, strict=True):
            if n % _JOBS_PER_KEY == 0:
                # Ten other keys, as if a job of each had just ended: of the last ones none is left.
                first = n % count
                stage.execute(f"open_{kind}", first, first + _AT_ONCE - 1)
            cost = own.cost(partial(own.turn, 0, _AT_ONCE))
            if own.handed_out != _AT_ONCE:
                raise Unavailable(f"{own.handed_out} jobs were handed out, not {_AT_ONCE}")
            if n >= _WARM_UP:
                costs.append(cost)
    return [median(costs) for costs in taken]


def _fill(stage: Stage, kind: str, first: int, last: int, keys: int) -> None:
    """Insert jobs, and park them where claims would: claims would take minutes."""
    if kind == "limited":
        stage.execute("limit_keys")
    in_parallel(
        stage,
        [
            (
                (f"keyed_{kind}", "park"),
                {"first": n, "last": min(n + _CHUNK - 1, last), "keys": keys},
            )
            for n in range(first, last + 1, _CHUNK)
        ],
    )
