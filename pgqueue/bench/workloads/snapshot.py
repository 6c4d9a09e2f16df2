"""
The same work while another session holds a snapshot, so that vacuum can remove nothing.

A feeder keeps the queue filled, from an empty start; meanwhile the number of claimed jobs is read.
Buffers are the blocks of the table ready and of its indexes that inserting and claiming touch.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from pgqueue.bench.model import Aim, Case, Figure, Of, Unavailable, percentile
from pgqueue.bench.processes import workers
from pgqueue.bench.queries import statement
from pgqueue.bench.workloads.drain import CONCURRENCY
from pgqueue.bench.workloads.steady import stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Counters, Stage

__all__ = ["cases"]

BACKLOG = 30_000
CHUNK = 5_000
_TICK_SECONDS = 0.05
_EDGE_SECONDS = 10.0
_EDGE_SHARE = 0.25
_PLAIN = "no snapshot"
_FULL_AIMS = (
    Aim("rate, last of first", 0.9, least=True),
    Aim("rate, last part", 0.9, least=True, of=Of.FLOOR),
    Aim("buffers, last of first", 1.1, least=False),
)
_STEADY_AIMS = (
    Aim("p50, last of first", 1.3, least=False),
    Aim("p50, last part", 1.3, least=False, of=Of.FLOOR),
)
_HOLDERS = {"a read-only snapshot": "hold_read_only", "a snapshot with an xid": "hold_xid"}


def cases(settings: BenchSettings) -> list[Case]:
    """A full queue and a steady rate, without a snapshot and with two kinds of them."""
    rate = settings.rates[0]
    found: list[Case] = []
    for prefix, measure, aims in (
        ("", _full, _FULL_AIMS),
        (f"{rate:,} jobs/s, ", partial(_steady, rate=rate), _STEADY_AIMS),
    ):
        found += [
            Case(
                workload="snapshot",
                name=prefix + name,
                measure=partial(measure, holder=holder),
                floor=prefix + _PLAIN if holder else None,
                aims=aims if holder else (),
                runs=settings.long_runs,
                seconds=settings.long_seconds + 2.5,
            )
            for name, holder in {_PLAIN: None, **_HOLDERS}.items()
        ]
    return found


@contextmanager
def _held(stage: Stage, holder: str | None) -> Iterator[None]:
    """Hold a snapshot in another session."""
    with stage.connect() as connection:
        if holder is not None:
            connection.execute(statement(holder).encode())
        yield
        if holder is not None:
            connection.execute(statement("rollback").encode())


def _edge(seconds: float) -> float:
    """How long the first and the last part are."""
    return min(_EDGE_SECONDS, seconds * _EDGE_SHARE)


def _full(stage: Stage, *, holder: str | None) -> list[Figure]:
    seconds = stage.settings.long_seconds
    stop, left = threading.Event(), [BACKLOG]
    feeder = threading.Thread(target=_feed, args=(stage, stop, left), daemon=True)
    with _held(stage, holder), workers(stage, processes=1, concurrency=CONCURRENCY) as found:
        feeder.start()
        try:
            stage.wait(
                lambda: stage.counters().claimed > CHUNK, "the first jobs are claimed", seconds=60
            )
            ticks = [stage.counters()]
            while ticks[-1].at - ticks[0].at < seconds:
                time.sleep(_TICK_SECONDS)
                found.check()
                ticks.append(stage.counters())
        finally:
            stop.set()
            feeder.join(60)
    edge = _edge(seconds)
    first = [tick for tick in ticks if tick.at <= ticks[0].at + edge]
    last = [tick for tick in ticks if tick.at >= ticks[-1].at - edge]
    return [*_edges(first, last), Figure("backlog, least", float(min(left)), "jobs")]


def _edges(first: list[Counters], last: list[Counters]) -> list[Figure]:
    early, late = _rate(first), _rate(last)
    if not early or not late:
        raise Unavailable("no job was claimed")
    return [
        Figure("rate, first part", early, "jobs/s"),
        Figure("rate, last part", late, "jobs/s"),
        Figure("rate, last of first", late / early, ""),
        Figure("buffers, first part", _buffers(first), "per job"),
        Figure("buffers, last part", _buffers(last), "per job"),
        Figure("buffers, last of first", _buffers(last) / max(_buffers(first), 1e-9), ""),
    ]


def _rate(ticks: list[Counters]) -> float:
    return (ticks[-1].claimed - ticks[0].claimed) / (ticks[-1].at - ticks[0].at)


def _buffers(ticks: list[Counters]) -> float:
    return (ticks[-1].ready_buffers - ticks[0].ready_buffers) / max(
        1.0, ticks[-1].claimed - ticks[0].claimed
    )


def _feed(stage: Stage, stop: threading.Event, left: list[float]) -> None:
    """Keep the backlog filled, and note how small it was: at 0 the workers waited for us."""
    query, look = statement("enqueue_noops").encode(), statement("counters").encode()
    with stage.connect() as connection:
        fed = 0
        while not stop.wait(0.005):
            claimed = connection.execute(look).fetchall()[0][2]
            if fed > BACKLOG:
                left.append(fed - claimed)
            if fed - claimed < BACKLOG:
                connection.execute(query, (CHUNK,))
                fed += CHUNK


def _steady(stage: Stage, *, holder: str | None, rate: int) -> list[Figure]:
    with _held(stage, holder), workers(stage, processes=1, concurrency=CONCURRENCY) as found:
        pairs, _ = stream(stage, found, rate)
    pairs.sort(key=lambda pair: pair[1])
    edge = _edge(pairs[-1][1] - pairs[0][1])
    first = [seen - sent for sent, seen in pairs if seen <= pairs[0][1] + edge]
    last = [seen - sent for sent, seen in pairs if seen >= pairs[-1][1] - edge]
    early, late = percentile(first, 0.5), percentile(last, 0.5)
    return [
        Figure("p50, first part", early * 1e3, "ms"),
        Figure("p50, last part", late * 1e3, "ms"),
        Figure("p99, last part", percentile(last, 0.99) * 1e3, "ms"),
        Figure("p50, last of first", late / early, ""),
    ]
