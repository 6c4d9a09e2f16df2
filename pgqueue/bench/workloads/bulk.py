"""Many jobs per transaction, one connection, beside the same rows into a plain table."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from pgqueue.bench.model import FLOOR, OURS, Aim, Case, Figure, Of
from pgqueue.bench.producing import VALUES_ROWS, transactions_per_second
from pgqueue.bench.queries import statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Stage

__all__ = ["cases"]

_SELECTED_ROWS = 100
_COPIED_ROWS = 10_000
_MANY = 1_000
_AIM = Aim("rate", 0.5, least=True, of=Of.FLOOR)


def cases(settings: BenchSettings) -> list[Case]:
    """Each way, beside its floor."""
    values = f"VALUES of {VALUES_ROWS} rows"
    select = f"INSERT ... SELECT of {_SELECTED_ROWS} rows"
    copy = f"COPY of {_COPIED_ROWS:,} rows"
    found = [
        _case(
            f"plain table, {values}", partial(_scripted, script="values_plain", rows=VALUES_ROWS)
        ),
        _case(
            values,
            partial(_scripted, script="values_jobs", rows=VALUES_ROWS),
            f"plain table, {values}",
        ),
        _case(
            f"plain table, {select}", partial(_scripted, script="select_plain", rows=_SELECTED_ROWS)
        ),
        _case(
            select,
            partial(_scripted, script="select_jobs", rows=_SELECTED_ROWS),
            f"plain table, {select}",
        ),
        _case(f"plain table, {copy}", partial(_copied, query="copy_plain")),
        _case(copy, partial(_copied, query="copy_jobs"), f"plain table, {copy}"),
        # JSON in, ids out: its floor is what a client would send otherwise.
        _case(f"enqueue_many() of {_MANY:,} jobs", _many, f"plain table, {values}"),
    ]
    # What turns and quotas cost, beside the first of the three.
    found += [
        replace(
            _case(
                f"{whose}, {select}", partial(_tenants, prepare=prepare), f"plain table, {select}"
            ),
            aims=(),
        )
        for whose, prepare in (
            ("one tenant", None),
            ("one tenant in a fair queue", "take_turns"),
            ("one tenant with a quota", "set_quota"),
        )
    ]
    return [replace(case, seconds=settings.seconds + 0.2) for case in found]


def _case(name: str, measure: Callable[[Stage], list[Figure]], floor: str | None = None) -> Case:
    return Case(
        workload="bulk",
        name=name,
        measure=measure,
        floor=floor,
        system=FLOOR if floor is None else OURS,
        aims=() if floor is None else (_AIM,),
    )


def _scripted(stage: Stage, *, script: str, rows: int) -> list[Figure]:
    before = stage.counters()
    rate = transactions_per_second(stage, script, clients=1) * rows
    wal = stage.counters().wal - before.wal
    stored = stage.value("count_plain" if script.endswith("plain") else "count_jobs")
    return [Figure("rate", rate, "jobs/s"), Figure("WAL", wal / stored, "B/job")]


def _tenants(stage: Stage, *, prepare: str | None) -> list[Figure]:
    if prepare is not None:
        stage.execute(prepare)
    return _scripted(stage, script="tenant_jobs", rows=_SELECTED_ROWS)


def _copied(stage: Stage, *, query: str) -> list[Figure]:
    row = b'bench_noop\t{"n": 1}\n' * _COPIED_ROWS
    text = statement(query).encode()

    def once() -> None:
        with stage.connection.cursor() as cursor, cursor.copy(text) as copy:
            copy.write(row)

    return [Figure("rate", _rate(stage, once) * _COPIED_ROWS, "jobs/s")]


def _many(stage: Stage) -> list[Figure]:
    jobs = stage.value("many_plain", _MANY)
    rate = _rate(stage, lambda: stage.execute("enqueue_many", Jsonb(jobs)))
    return [Figure("rate", rate * _MANY, "jobs/s")]


def _rate(stage: Stage, once: Callable[[], None]) -> float:
    """Repeat something for the stage's seconds; how often per second."""
    began = time.monotonic()
    count = 0
    while time.monotonic() - began < stage.settings.seconds:
        once()
        count += 1
    return count / (time.monotonic() - began)
