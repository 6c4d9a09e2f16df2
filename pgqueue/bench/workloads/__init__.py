"""The cases, by workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgqueue.bench.workloads import (
    bulk,
    drain,
    enqueue,
    features,
    flow,
    growth,
    latency,
    snapshot,
    steady,
)
from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgqueue.bench.model import Case
    from pgqueue.bench.settings import BenchSettings

__all__ = ["WORKLOADS", "cases_of"]

WORKLOADS: Mapping[str, Callable[[BenchSettings], list[Case]]] = {
    "enqueue": enqueue.cases,
    "bulk": bulk.cases,
    "drain": drain.cases,
    "latency": latency.cases,
    "steady": steady.cases,
    "snapshot": snapshot.cases,
    "growth": growth.cases,
    "features": features.cases,
    "flow": flow.cases,
}


def cases_of(settings: BenchSettings, workloads: Sequence[str] = ()) -> list[Case]:
    """
    The cases of some workloads.

    Args:
        settings: How much each does.
        workloads: Their names; none for all.

    Raises:
        ConfigurationError: There is no such workload.
    """
    for name in workloads:
        if name not in WORKLOADS:
            raise ConfigurationError(
                f"there is no workload {name!r}", hint=f"There are: {', '.join(WORKLOADS)}."
            )
    chosen = workloads or tuple(WORKLOADS)
    return [case for name in dict.fromkeys(chosen) for case in WORKLOADS[name](settings)]
