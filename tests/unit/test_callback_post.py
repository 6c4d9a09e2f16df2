"""One POST: to whom it goes, what it refuses, and when it gives up."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue.callback import post as module
from pgqueue.callback.address import Refused
from pgqueue.callback.policy import Policy
from pgqueue.callback.post import post
from pgqueue.errors import ConfigurationError
from tests.support.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from tests.support.receiver import Receiver

_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def _policy(receiver: Receiver, **more: Any) -> Policy:
    given = {"plain_http": True, "ports": frozenset({receiver.port}), "networks": _LOOPBACK}
    return Policy(**{**given, **more})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server on 127.0.0.1."""
    with receiving() as opened:
        yield opened


def test_a_post_arrives_as_it_was_signed(receiver: Receiver) -> None:
    """Path, query, Host, headers and body."""
    answer = post(receiver.url, b'{"a": 1}', {"webhook-id": "x"}, _policy(receiver))
    (got,) = receiver.received

    assert answer.status == 200
    assert (got.path, got.body) == ("/hooks?key=1", b'{"a": 1}')
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["webhook-id"] == "x"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:22/",
        "ftp://127.0.0.1:{port}/",
        "http://user:password@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}0000/",
        "http://127.0.0.1:{port}/\r\nX-Injected: 1",
        "http://127.0.0.1:{port}/ä",
        "http:///x",
        "file:///etc/passwd",
        "//127.0.0.1:{port}/",
        "",
    ],
)
def test_what_the_policy_does_not_name_is_refused(receiver: Receiver, url: str) -> None:
    """Ports, schemes, credentials, control characters; nothing is sent."""
    with pytest.raises(Refused):
        post(url.format(port=receiver.port), b"{}", {}, _policy(receiver))

    assert receiver.received == []


def test_nothing_inside_is_reached_by_default(receiver: Receiver) -> None:
    """Loopback is not public, http not https, the port not 443; each refusal names its setting."""
    settings: dict[str, dict[str, Any]] = {
        "PGQUEUE_CALLBACK_NETWORKS": {"networks": ()},
        "PGQUEUE_CALLBACK_HTTP=1": {"plain_http": False},
        "PGQUEUE_CALLBACK_PORTS": {"ports": frozenset({443})},
    }
    for setting, more in settings.items():
        with pytest.raises(Refused, match=setting):
            post(receiver.url, b"{}", {}, _policy(receiver, **more))

    assert receiver.received == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    """It could lead inside, past all checks."""
    with receiving() as other:
        receiver.answers = [(status, {"location": other.url})]
        answer = post(receiver.url, b"{}", {}, _policy(receiver))

        assert answer.status == status
        assert other.received == []


def test_proxies_of_the_environment_are_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address was checked; a proxy would look the name up again."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:1")

    assert post(receiver.url, b"{}", {}, _policy(receiver)).status == 200


@pytest.mark.parametrize("header", ["a\r\nb: c", "a\nb", "a\rb"])
def test_a_header_takes_no_line_breaks(receiver: Receiver, header: str) -> None:
    """The last line of defence."""
    with pytest.raises(ValueError, match="header"):
        post(receiver.url, b"{}", {"traceparent": header}, _policy(receiver))

    assert receiver.received == []


def test_the_whole_exchange_has_a_deadline(receiver: Receiver) -> None:
    """One byte at a time keeps a socket's own timeout from ever passing."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.05)

    receiver.hang = drip
    began = time.monotonic()
    with pytest.raises((OSError, http.client.HTTPException)):
        post(receiver.url, b"{}", {}, _policy(receiver, seconds=0.5))

    assert time.monotonic() - began < 3


def test_an_answer_without_end_is_not_read_to_its_end(receiver: Receiver) -> None:
    """Four kilobytes, and the connection is closed."""
    sent = []

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            handler.wfile.write(b"a" * 65536)
            sent.append(65536)

    receiver.hang = flood
    assert post(receiver.url, b"{}", {}, _policy(receiver)).status == 200
    assert sum(sent) < 64 * 1024 * 1024


def test_headers_without_end_are_an_error(receiver: Receiver) -> None:
    """http.client stops at a hundred."""

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000)

    receiver.hang = flood
    with pytest.raises(http.client.HTTPException):
        post(receiver.url, b"{}", {}, _policy(receiver))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("999999999999", 21600.0),
        ("-5", None),
        ("soon", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 21600.0),
    ],
)
def test_retry_after_is_read_and_bounded(
    receiver: Receiver, value: str, seconds: float | None
) -> None:
    """Seconds or a date, at most six hours; anything else is as if it were not there."""
    receiver.answers = [(503, {"retry-after": value})]

    assert post(receiver.url, b"{}", {}, _policy(receiver)).retry_after_seconds == seconds


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and key for hooks.example, signed by itself."""
    path = tmp_path / "tls.pem"
    key = tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=hooks.example", "-addext", "subjectAltName=DNS:hooks.example"]
    try:
        subprocess.run(
            [*command, *names, "-keyout", str(key), "-out", str(path)],
            check=True,
            capture_output=True,
            timeout=60,
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


def test_tls_checks_the_name_though_the_address_is_pinned(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's name is asked for (SNI) and must be the certificate's."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    named: list[str | None] = []
    server.sni_callback = lambda _, name, __: named.append(name)
    monkeypatch.setattr(
        module,
        "resolve",
        lambda _, port, **__: [(socket.AF_INET, ("127.0.0.1", port))],
    )
    with receiving(tls=server) as receiver:
        policy = _policy(receiver, plain_http=False)
        with pytest.raises(ssl.SSLCertVerificationError):
            post(f"https://hooks.example:{receiver.port}/", b"{}", {}, policy)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        answer = post(f"https://hooks.example:{receiver.port}/", b"{}", {}, policy)
        with pytest.raises(ssl.SSLCertVerificationError):
            post(f"https://other.example:{receiver.port}/", b"{}", {}, policy)

    assert answer.status == 200
    assert named == ["hooks.example", "hooks.example", "other.example"]
    assert len(receiver.received) == 1


def test_a_policy_is_read_from_the_environment() -> None:
    """The worker's, not the producer's."""
    found = Policy.from_environment(
        {
            "PGQUEUE_CALLBACK_HTTP": "1",
            "PGQUEUE_CALLBACK_PORTS": "443, 8443",
            "PGQUEUE_CALLBACK_NETWORKS": "10.0.0.0/8,fd00::/8",
            "PGQUEUE_CALLBACK_SECONDS": "5",
        }
    )

    assert found == Policy(
        plain_http=True,
        ports=frozenset({443, 8443}),
        networks=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")),
        seconds=5,
    )
    assert Policy.from_environment({}) == Policy()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORTS", "0"),
        ("PORTS", "x"),
        ("NETWORKS", "10.0.0.1/8"),
        ("SECONDS", "60"),
        ("SECONDS", "nan"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(name: str, value: str) -> None:
    """When the worker starts to deliver, with the variable's family in the message."""
    with pytest.raises(ConfigurationError):
        Policy.from_environment({f"PGQUEUE_CALLBACK_{name}": value})
