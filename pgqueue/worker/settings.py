"""How a worker is set up."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Pooler", "WorkerOptions", "WorkerSettings"]

Pooler = Literal["auto", "yes", "no"]

CONCURRENCY_MAX = 10_000
LEASE_SECONDS_MAX = 3_600.0
NAME_CHARACTERS_MAX = 200
PORT_MAX = 65_535


class WorkerOptions(TypedDict, total=False):
    """The fields of WorkerSettings, as keyword arguments."""

    queues: Sequence[str]
    concurrency: int
    name: str
    lease_seconds: float
    poll_seconds: float
    drain: bool
    shutdown_seconds: float
    health_port: int | None
    health_host: str | None
    pooler: Pooler


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """
    One worker's settings.

    Attributes:
        queues: Claimed from in turn; job priorities rank above that.
        concurrency: How many jobs run at once.
        name: What logs, views and jobs call it; by default host:pid.
        lease_seconds: From its last heartbeat until a worker counts as dead and its jobs go back.
            It heartbeats four times as often.
        poll_seconds: How often an idle worker looks without being rung; the safety net.
        drain: Stop when the queues are empty.
        shutdown_seconds: How long handlers may go on after the signal to stop.
        health_port: Answers GET /live and GET /ready on this port.
        health_host: On this address only; None: on all, as probes from outside need.
        pooler: Whether a transaction pooler stands in between. Then there is no doorbell (LISTEN
            needs a session), only polling. "auto" finds out.

    Raises:
        ConfigurationError: A value that makes no sense.
    """

    queues: tuple[str, ...] = ("default",)
    concurrency: int = 50
    name: str = dataclasses.field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    lease_seconds: float = 20.0
    poll_seconds: float = 5.0
    drain: bool = False
    shutdown_seconds: float = 25.0
    health_port: int | None = None
    health_host: str | None = None
    pooler: Pooler = "auto"

    def __post_init__(self) -> None:
        if not self.queues or len(set(self.queues)) < len(self.queues) or "" in self.queues:
            raise ConfigurationError("name at least one queue, and each once")
        self._check("concurrency", self.concurrency, 1, CONCURRENCY_MAX)
        self._check("lease_seconds", self.lease_seconds, 1, LEASE_SECONDS_MAX)
        self._check("poll_seconds", self.poll_seconds, 0.01, 3_600)
        self._check("shutdown_seconds", self.shutdown_seconds, 0, 86_400)
        self._check("health_port", self.health_port or 0, 0, PORT_MAX)
        if not 1 <= len(self.name) <= NAME_CHARACTERS_MAX:
            raise ConfigurationError(f"a worker's name has 1 to {NAME_CHARACTERS_MAX} characters")
        if self.pooler not in {"auto", "yes", "no"}:
            raise ConfigurationError(f"pooler is auto, yes or no, not {self.pooler!r}")

    def to_json(self) -> str:
        """As one argument of a child process's command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerSettings:
        """Read what `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        return cls(**{**values, "queues": tuple(values["queues"])})

    @staticmethod
    def _check(name: str, value: float, least: float, most: float) -> None:
        if not least <= value <= most:
            raise ConfigurationError(f"{name} must be {least:g} to {most:g}, not {value!r}")
