"""The calls about limits and ordering keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgqueue.calls.core import Call, nothing, scalar

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from uuid import UUID

__all__ = ["drop_limit", "register_limits", "set_limit", "skip_ordered"]


def register_limits(declarations: Sequence[Mapping[str, Any]]) -> Call[None]:
    """Declare limits, as pgqueue.register_limits() says."""
    rows = json.dumps([dict(one) for one in declarations])
    return Call("select pgqueue.register_limits(%s::jsonb)", (rows,), nothing)


def set_limit(
    kind: str,
    name: str,
    *,
    max_running: int | None = None,
    rate_jobs: int | None = None,
    rate_interval: dt.timedelta | None = None,
    rate_burst: int | None = None,
    description: str | None = None,
) -> Call[None]:
    """
    Make a limit or replace it as a whole.

    Args:
        kind: job_type, queue, tenant or key.
        name: The type, queue or tenant; of a key the job type; `*` for tenant and key.
        max_running: At most so many at once.
        rate_jobs: So many starts per *rate_interval*.
        rate_interval: The time of the rate.
        rate_burst: So many may start at once; by default 1 and what comes in 0.2 s.
        description: For people.
    """
    return Call(
        "select pgqueue.set_limit(%s, %s, %s, %s, %s, %s, %s)",
        (kind, name, max_running, rate_jobs, rate_interval, rate_burst, description),
        nothing,
    )


def drop_limit(kind: str, name: str) -> Call[bool]:
    """Drop a limit; what it held back may run. False: there was none."""
    return Call("select pgqueue.drop_limit(%s, %s)", (kind, name), scalar)


def skip_ordered(job_id: UUID) -> Call[bool]:
    """Let the jobs behind a failed one of an ordering key run. False: it blocks none."""
    return Call("select pgqueue.skip_ordered(%s)", (job_id,), scalar)
