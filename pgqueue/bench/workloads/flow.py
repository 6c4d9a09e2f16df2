"""
What flow control costs: jobs that use a feature, and jobs that do not while others do.

Beside each other stand two databases, measured in turns, batch by batch. "used": the same jobs with
and without the feature. "for others": the same plain jobs, with the feature configured for another
job type, queue or tenant, and with nothing configured: the price that everybody pays. "parked":
claims beside very many waiting jobs and keys, and beside few.
"""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pgqueue.bench.lives import BATCH, Cost, Lives, Way, in_turns
from pgqueue.bench.model import Aim, Case, Figure, Unavailable
from pgqueue.bench.queries import statement
from pgqueue.bench.workloads import flow_size
from pgqueue.migrate_app import migrate_app

if TYPE_CHECKING:
    import psycopg

    from pgqueue.bench.settings import BenchSettings
    from pgqueue.bench.stage import Stage

__all__ = ["FEATURES", "Feature", "cases", "configure"]

_UNUSED_MAX = 1.03
_SHARE = 500  # one batch of 100 for each that many jobs of the settings
_BATCHES = (5, 400)
_SECONDS_PER_BATCH = 0.03  # in both databases, about
_METERING = ("pgqueue.apps.metering", "workers.metering")  # installed, or in a checkout
# Between two calls of maintain(), about: its share is counted to the jobs.
_JOBS_PER_SECOND = 2_000


_PLAIN = Way()


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """
    One feature.

    Attributes:
        name: In the report.
        others: The statement that configures it for others.
        use: The statement that configures it for these jobs.
        way: How jobs live that use it.
        without: The same jobs, without it.
        charges: It needs the module metering.
    """

    name: str
    others: str
    use: str | None = None
    way: Way = _PLAIN
    without: Way = _PLAIN
    charges: bool = False


_TENANTS = Way(insert="insert_tenants")
FEATURES = (
    Feature(
        name="schedules",
        use="use_schedules",
        others="others_schedules",
        way=Way(insert="run_schedules", before="schedules_due"),
    ),
    Feature(name="limit of a job type", use="use_type_limit", others="others_type_limit"),
    Feature(name="limit of a queue", use="use_queue_limit", others="others_queue_limit"),
    Feature(
        name="limit per key",
        use="use_key_limit",
        others="others_key_limit",
        way=Way(insert="insert_concurrency_keys"),
    ),
    Feature(name="rate", use="use_rate", others="others_rate"),
    Feature(name="ordering keys", others="others_order", way=Way(insert="insert_ordering_keys")),
    Feature(
        name="turns of tenants",
        use="use_turns",
        others="others_turns",
        way=_TENANTS,
        without=_TENANTS,
    ),
    Feature(
        name="quotas", use="use_quotas", others="others_quotas", way=_TENANTS, without=_TENANTS
    ),
    Feature(name="dependencies", others="others_dependents", way=Way(insert="insert_dependents")),
    Feature(
        name="batches", use="use_batch", others="others_batch", way=Way(insert="insert_in_batch")
    ),
    Feature(name="signals", others="others_signals", way=Way(pauses=True)),
    Feature(name="hook that does nothing", use="use_hook", others="others_hook"),
    Feature(
        name="charging",
        use="use_prices",
        others="others_prices",
        way=Way(insert="insert_headers"),
        without=Way(insert="insert_headers"),
        charges=True,
    ),
    Feature(
        name="aging",
        use="use_aging",
        others="use_aging",
        way=Way(insert="insert_low", between="long_waiting", first="age_waiting"),
        without=Way(insert="insert_low"),
    ),
)


def cases(settings: BenchSettings) -> list[Case]:
    """Each feature used, each for others, and two at size."""
    rounds = _rounds(settings)
    found = []
    for feature in FEATURES:
        for told, measure, aims in (
            ("used", _used, ()),
            ("for others", _for_others, _aims()),
        ):
            found.append(
                Case(
                    workload="flow",
                    name=f"{feature.name}, {told}",
                    measure=partial(measure, feature=feature, rounds=rounds),
                    aims=aims,
                    runs=settings.long_runs,
                    seconds=2 + rounds * _SECONDS_PER_BATCH,
                )
            )
    return found + flow_size.cases(settings)


def _rounds(settings: BenchSettings) -> int:
    least, most = _BATCHES
    return max(least, min(most, settings.heavy_jobs // _SHARE))


def _aims() -> tuple[Aim, ...]:
    return tuple(
        Aim(f"{part} {what} / none", _UNUSED_MAX, least=False)
        for part in ("life", "INSERT of one")
        for what in ("WAL", "buffers", "CPU")
    )


def _used(stage: Stage, *, feature: Feature, rounds: int) -> list[Figure]:
    ways = (feature.without, feature.way)
    before, after = _beside(stage, feature, feature.use, ways, rounds, single=False)
    found = []
    for part in ("enqueue", "drain"):
        own, other = after[part].per(BATCH), before[part].per(BATCH)
        found += [
            Figure(part, own.seconds * 1e6, "µs/job"),
            Figure(f"{part} / without", own.seconds / other.seconds, ""),
        ]
    own, other = _life(after), _life(before)
    found += _figures("life", own, other, "without")
    return found


def _for_others(stage: Stage, *, feature: Feature, rounds: int) -> list[Figure]:
    before, after = _beside(stage, feature, feature.others, (_PLAIN, _PLAIN), rounds, single=True)
    return [
        *_figures("life", _life(after), _life(before), "none"),
        *_figures("INSERT of one", after["one"], before["one"], "none"),
        Figure("maintain()", after["maintain"].seconds * 1e3, "ms"),
        Figure("maintain() / none", after["maintain"].seconds / before["maintain"].seconds, ""),
    ]


def _beside(  # as many as a comparison has
    stage: Stage,
    feature: Feature,
    configured: str | None,
    ways: tuple[Way, Way],
    rounds: int,
    *,
    single: bool,
) -> list[dict[str, Cost]]:
    """Without and with; one after the other where there is only one database."""
    without, way = ways
    with ExitStack() as stack:
        twin = stack.enter_context(stage.twin())
        stage.execute("flow_prepare")
        if twin is None:
            found = in_turns([Lives(stage, without)], rounds, single=single)
            configure(stage.connection, stage.dsn, feature, configured)
            return found + in_turns([Lives(stage, way)], rounds, single=single)
        twin.execute("flow_prepare")
        configure(stage.connection, stage.dsn, feature, configured)
        return in_turns([Lives(twin, without), Lives(stage, way)], rounds, single=single)


def configure(
    connection: psycopg.Connection[Any], dsn: str, feature: Feature, name: str | None
) -> None:
    """
    Configure a feature.

    Args:
        connection: Of a database with `flow_prepare`.
        dsn: The same database.
        feature: Which.
        name: Of the statement that does it; None if nothing need be done.
    """
    if feature.charges:
        migrate_app(_metering(), dsn)
    if name is not None:
        connection.execute(statement(name).encode())


def _metering() -> str:
    for name in _METERING:
        try:
            if importlib.util.find_spec(name) is not None:
                return name
        except ModuleNotFoundError:
            continue
    raise Unavailable("the module metering is not installed here")


def _life(costs: dict[str, Cost]) -> Cost:
    """Per job, with its share of the maintenance."""
    return (costs["enqueue"] + costs["drain"]).per(BATCH) + costs["maintain"].per(_JOBS_PER_SECOND)


def _figures(part: str, own: Cost, other: Cost, beside: str) -> list[Figure]:
    found = [
        Figure(f"{part} WAL", own.wal, "B"),
        Figure(f"{part} WAL / {beside}", own.wal / other.wal, ""),
        Figure(f"{part} buffers", own.buffers, ""),
        Figure(f"{part} buffers / {beside}", own.buffers / other.buffers, ""),
    ]
    if own.cpu is not None and other.cpu:
        found += [
            Figure(f"{part} CPU", own.cpu * 1e6, "µs"),
            Figure(f"{part} CPU / {beside}", own.cpu / other.cpu, ""),
        ]
    return found
