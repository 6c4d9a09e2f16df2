"""
Which addresses a callback may reach: public unicast, nothing else, unless a network is allowed.

`ipaddress.is_global` alone is not enough: it lets 64:ff9b::/96, 2002::/16, 192.88.99.0/24 and
multicast through, and a mapped or tunnelled address leads where its IPv4 part says.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Network", "Refused", "is_allowed", "resolve"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
SocketAddress: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]

_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "2001::/23",  # Teredo, ORCHID and other protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
# All that is public in IPv6 lies here: not ::/96, 64:ff9b::/96, fc00::/7, fe80::/10, ff00::/8.
_UNICAST = ipaddress.ip_network("2000::/3")


class Refused(Exception):
    """This URL is not called, now or later."""


def is_allowed(text: str, networks: Sequence[Network] = ()) -> bool:
    """
    Tell whether a callback may go to an address.

    Args:
        text: As getaddrinfo gives it.
        networks: Allowed beside the public ones.
    """
    if "%" in text:  # a scope: link-local
        return False
    address: Address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in networks):
        return True
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _DENIED)
    )


def resolve(
    host: str, port: int, *, networks: Sequence[Network], seconds: float
) -> list[SocketAddress]:
    """
    Resolve once; what is returned is connected to, and nothing is resolved again.

    Args:
        host: A name or an address.
        port: Where to.
        networks: Allowed beside the public ones.
        seconds: The deadline.

    Raises:
        Refused: One of its addresses, whichever, is not allowed.
        OSError: It does not resolve, or not in time.
    """
    found = _getaddrinfo(host, port, seconds)
    for _, address in found:
        if not is_allowed(address[0], networks):
            raise Refused(
                "the host has an address that callbacks must not reach: not a public one, nor in"
                " PGQUEUE_CALLBACK_NETWORKS at the worker"
            )
    return found


def _getaddrinfo(host: str, port: int, seconds: float) -> list[SocketAddress]:
    # In a thread: the resolver has no deadline of its own. One that hangs ends by itself.
    answers: list[SocketAddress] = []
    errors: list[OSError] = []

    def ask() -> None:
        try:
            for family, _, _, _, address in socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            ):
                answers.append((family, address))
        except (OSError, UnicodeError) as exc:
            errors.append(exc if isinstance(exc, OSError) else OSError("not a host name"))

    thread = threading.Thread(target=ask, name="pgqueue callback resolver", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if thread.is_alive() or not answers:
        raise TimeoutError("the host does not resolve in time")
    return answers
