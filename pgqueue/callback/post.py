"""
One POST that goes where it was checked to go.

The host is resolved once; every address must be allowed; the connection is made to one of those,
with the host's name for TLS and the Host header. Redirects are not followed, proxies not used. A
timer cuts the connection at the deadline: a socket's own timeout starts anew with every byte.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pgqueue.callback.address import Refused, resolve
from pgqueue.callback.policy import HTTPS_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from pgqueue.callback.address import SocketAddress
    from pgqueue.callback.policy import Policy

__all__ = ["Answer", "post"]

HTTP_PORT = 80
# Read so that the receiver can finish writing; nothing of it is kept.
ANSWER_BYTES_MAX = 4_096
RETRY_AFTER_SECONDS_MAX = 6 * 3_600


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the receiver said.

    Attributes:
        retry_after_seconds: Its Retry-After, at most six hours.
    """

    status: int
    retry_after_seconds: float | None = None


def post(url: str, body: bytes, headers: Mapping[str, str], policy: Policy) -> Answer:
    """
    Send *body*.

    Args:
        url: As jobs_callback_url_check let it through.
        body: As it was signed.
        headers: Beside Host and Content-Length.
        policy: What is allowed.

    Raises:
        Refused: The URL or an address of its host is not allowed.
        OSError: No connection, no TLS, no answer in time.
        http.client.HTTPException: No HTTP.
    """
    give_up_at = time.monotonic() + policy.seconds
    parts, port = _checked(url, policy)
    host = parts.hostname or ""
    addresses = resolve(host, port, networks=policy.networks, seconds=policy.seconds)
    sock = _connected(addresses, give_up_at)
    # From here on the timer holds: it cuts the connection under whoever waits for it.
    cut = threading.Event()
    timer = threading.Timer(max(give_up_at - time.monotonic(), 0.001), _cut, (sock, cut))
    timer.daemon = True
    timer.start()
    try:
        answer = _exchange(parts, port, sock, body, headers)
    finally:
        timer.cancel()
        sock.close()
    if cut.is_set():  # http.client takes headers that break off for complete ones
        raise TimeoutError("no whole answer in time")
    return answer


def _exchange(
    parts: SplitResult, port: int, sock: socket.socket, body: bytes, headers: Mapping[str, str]
) -> Answer:
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        connection = http.client.HTTPSConnection(host, port, context=context)
        connection.sock = context.wrap_socket(sock, server_hostname=host)
    else:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = sock
    connection.auto_open = 0  # it would resolve the host again
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, dict(headers))
        response = connection.getresponse()
        response.read(ANSWER_BYTES_MAX)
        return Answer(response.status, _retry_after(response.headers.get("Retry-After")))
    finally:
        connection.close()


def _checked(url: str, policy: Policy) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or (HTTPS_PORT if parts.scheme == "https" else HTTP_PORT)
    except ValueError as exc:
        raise Refused(f"the URL cannot be read: {exc}") from exc
    if not parts.hostname or "@" in parts.netloc or not url.isascii() or not url.isprintable():
        raise Refused("the URL names no host, or more than a host")
    if parts.scheme != "https" and not (parts.scheme == "http" and policy.plain_http):
        hint = "; PGQUEUE_CALLBACK_HTTP=1 at the worker allows it" if parts.scheme == "http" else ""
        raise Refused(f"the scheme {parts.scheme} is not allowed{hint}")
    if port not in policy.ports:
        raise Refused(
            f"port {port} is not allowed; PGQUEUE_CALLBACK_PORTS at the worker names the ports"
        )
    return parts, port


def _connected(addresses: list[SocketAddress], give_up_at: float) -> socket.socket:
    problem: OSError = TimeoutError("no connection in time")
    for family, address in addresses:
        left = give_up_at - time.monotonic()
        if left <= 0:
            break
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Half of what is left: one dead address must not use up the time of the others.
            sock.settimeout(max(left / 2, 0.1))
            sock.connect(address)
            sock.settimeout(max(give_up_at - time.monotonic(), 0.1))
        except OSError as exc:
            sock.close()
            problem = exc
        else:
            return sock
    raise problem


def _cut(sock: socket.socket, cut: threading.Event) -> None:
    cut.set()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which is seconds or a date; None = there is none."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:10])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), float(RETRY_AFTER_SECONDS_MAX))
