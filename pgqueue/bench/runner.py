"""Measure cases in turns."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from pgqueue.bench.model import Sample, Unavailable
from pgqueue.bench.report import Missing, Report
from pgqueue.errors import PgqueueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgqueue.bench.model import Case
    from pgqueue.bench.pgbench import Pgbench
    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Place

__all__ = ["STAGE_SECONDS", "Step", "run_cases", "seconds_of", "steps_of"]

STAGE_SECONDS = 0.6  # to make and drop a database

_log = logging.getLogger("pgqueue.bench")


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement of one case."""

    case: Case
    run: int


def steps_of(cases: Sequence[Case], settings: BenchSettings) -> Iterator[Step]:
    """In which order: workload after workload, and within each run after run."""
    for workload in dict.fromkeys(case.workload for case in cases):
        group = [case for case in cases if case.workload == workload]
        times = [case.runs or settings.runs for case in group]
        for run in range(max(times)):
            yield from (Step(case, run) for case, n in zip(group, times, strict=True) if run < n)


def seconds_of(cases: Sequence[Case], settings: BenchSettings) -> float:
    """How long it takes to measure them, about."""
    return sum(step.case.seconds + STAGE_SECONDS for step in steps_of(cases, settings))


def run_cases(
    cases: Sequence[Case],
    place: Place,
    settings: BenchSettings,
    *,
    pgbench: Pgbench | None = None,
    facts: dict[str, str] | None = None,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Report:
    """
    Measure all cases; one that fails is reported and not tried again.

    Args:
        cases: What.
        place: Where.
        settings: How much.
        pgbench: The program, if there is one.
        facts: What stands beside the figures.
        on_step: Called after each measurement.
    """
    samples: list[Sample] = []
    missing: dict[Case, Missing] = {}
    with _signals_interrupt() as interrupted:
        for step in steps_of(cases, settings):
            if interrupted.is_set():
                raise KeyboardInterrupt
            if step.case in missing:
                on_step(step)
                continue
            try:
                with place.stage(settings, pgbench, schema=step.case.schema) as stage:
                    figures = step.case.measure(stage)
            except Unavailable as reason:
                missing[step.case] = Missing(step.case, str(reason), failed=False)
            except (PgqueueError, psycopg.Error, OSError) as error:
                _log.debug("case failed", exc_info=True)
                text = str(error).strip() or type(error).__name__
                missing[step.case] = Missing(step.case, text, failed=True)
            else:
                samples += [Sample(step.case, step.run, figure) for figure in figures]
            on_step(step)
    return Report(tuple(samples), tuple(missing.values()), facts or {})


@contextmanager
def _signals_interrupt() -> Iterator[threading.Event]:
    """
    Let SIGTERM clean up as Ctrl-C does: databases, processes.

    The event is set as well: an exception raised inside a finaliser is printed and lost.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def interrupt(_number: int, _frame: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
