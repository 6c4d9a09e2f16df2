"""Where a callback may go: the zoo of addresses that lead inside."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import Any

import pytest

from pgqueue.callback.address import Refused, is_allowed, resolve

_INSIDE = [
    "0.0.0.0",  # noqa: S104  # an address to refuse
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
_PUBLIC = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("text", _INSIDE)
def test_an_address_inside_is_refused(text: str) -> None:
    """Private, loopback, link-local, metadata, reserved, multicast, tunnelled and mapped."""
    assert not is_allowed(text)


@pytest.mark.parametrize("text", [*_PUBLIC, "::ffff:1.1.1.1"])
def test_a_public_address_is_allowed(text: str) -> None:
    """Unicast of the Internet."""
    assert is_allowed(text)


def test_a_network_can_be_allowed() -> None:
    """A receiver in one's own network; its neighbours are still refused."""
    networks = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/64"))

    assert is_allowed("10.1.2.3", networks)
    assert is_allowed("::ffff:10.1.2.3", networks)
    assert is_allowed("fd00::5", networks)
    assert not is_allowed("10.2.0.1", networks)
    assert not is_allowed("fd00:0:0:1::5", networks)


def _resolver(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in one else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (one, port),
            )
            for one in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_one_address_inside_refuses_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever it is: the connection would go to any of them."""
    _resolver(monkeypatch, "1.1.1.1", "2606:4700::1111", "127.0.0.1")

    with pytest.raises(Refused):
        resolve("mixed.example", 443, networks=(), seconds=5)


def test_a_host_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was checked is what is connected to: a name that changes has no second chance."""
    asked = _resolver(monkeypatch, "1.1.1.1")
    found = resolve("host.example", 443, networks=(), seconds=5)

    assert found == [(socket.AF_INET, ("1.1.1.1", 443))]
    assert asked == ["host.example"]


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
def test_other_spellings_of_loopback_are_refused(host: str) -> None:
    """The resolver reads them; what it gives is what is checked."""
    with pytest.raises((Refused, OSError)) as caught:
        resolve(host, 443, networks=(), seconds=10)

    assert isinstance(caught.value, Refused | socket.gaierror)


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver has no deadline of its own."""
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])

    with pytest.raises(TimeoutError):
        resolve("slow.example", 443, networks=(), seconds=0.05)
    released.set()
