"""Where callbacks may go, as far as the worker decides; which hosts, the database does."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgqueue.callback.address import Network

__all__ = ["Policy"]

HTTPS_PORT = 443
PORT_MAX = 65_535
# Below the handler's time limit of 30 s, and the connection's idle_in_transaction of 60 s.
SECONDS = 15.0
SECONDS_MAX = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    The rules of one worker.

    Attributes:
        plain_http: Allow http:// too: bodies and signatures can then be read on the way.
        ports: Where connections may go.
        networks: Addresses allowed beside the public ones, for receivers in your own network.
        seconds: From the first look-up to the last byte.

    Raises:
        ConfigurationError: A value that makes no sense.
    """

    plain_http: bool = False
    ports: frozenset[int] = frozenset({HTTPS_PORT})
    networks: tuple[Network, ...] = ()
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= SECONDS_MAX:
            raise ConfigurationError(f"callbacks take up to {SECONDS_MAX:g} s, not {self.seconds}")
        if not self.ports or not all(1 <= port <= PORT_MAX for port in self.ports):
            raise ConfigurationError("name at least one port for callbacks, 1 to 65535")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Policy:
        """
        Read PGQUEUE_CALLBACK_HTTP (1), _PORTS (443,8443), _NETWORKS (10.0.0.0/8) and _SECONDS.

        Args:
            environment: Instead of the process's.

        Raises:
            ConfigurationError: Names the variable.
        """
        given = os.environ if environment is None else environment

        def items(name: str) -> list[str]:
            return [one.strip() for one in given.get(name, "").split(",") if one.strip()]

        try:
            return cls(
                plain_http=given.get("PGQUEUE_CALLBACK_HTTP", "") == "1",
                ports=frozenset(map(int, items("PGQUEUE_CALLBACK_PORTS"))) or cls().ports,
                networks=tuple(
                    ipaddress.ip_network(one) for one in items("PGQUEUE_CALLBACK_NETWORKS")
                ),
                seconds=float(given.get("PGQUEUE_CALLBACK_SECONDS") or SECONDS),
            )
        except ValueError as exc:
            raise ConfigurationError(f"PGQUEUE_CALLBACK_*: {exc}") from exc
