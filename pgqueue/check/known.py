"""What an application and a database know: job types, queues, handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from pgqueue.registry import Registry

_TYPES = "select job_type, queue from pgqueue.job_types"
_QUEUES = "select queue from pgqueue.queues union select unnest(queues) from pgqueue.workers"


@dataclass(frozen=True, slots=True)
class Known:
    """
    What literals are compared with.

    Attributes:
        job_types: None: nobody has said, so any is right.
        queues: None: as above.
        registry: Handlers, whose signatures payload literals must fit.
    """

    job_types: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    registry: Registry | None = None


def known_of(registry: Registry | None, connection: psycopg.Connection[Any] | None) -> Known:
    """
    Collect it.

    Args:
        registry: Of the handlers' modules.
        connection: To a database, as a login that may read job_types, queues and workers.
    """
    types: set[str] = set()
    queues: set[str] | None = None
    if registry is not None:
        types |= {definition.job_type for definition in registry}
    if connection is not None:
        found = connection.execute(_TYPES).fetchall()
        types |= {job_type for job_type, _ in found}
        queues = {"default", *_first(connection.execute(_QUEUES).fetchall())}
        queues |= {queue for _, queue in found if queue is not None}
        if registry is not None:
            queues |= {definition.queue for definition in registry if definition.queue}
    nobody = registry is None and connection is None
    return Known(
        job_types=None if nobody else frozenset(types),
        queues=None if queues is None else frozenset(queues),
        registry=registry,
    )


def _first(rows: Iterable[tuple[Any, ...]]) -> set[str]:
    return {str(row[0]) for row in rows}
