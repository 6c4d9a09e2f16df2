"""GET /live and GET /ready, for whoever restarts and routes: 200 or 503, and why as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Health"]

REQUEST_SECONDS = 5.0
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Health:
    """
    A very small HTTP server.

    Args:
        state: What /ready answers with; its member `ready` decides.
    """

    def __init__(self, state: Callable[[], dict[str, Any]]) -> None:
        self._state = state
        self._server: asyncio.Server | None = None

    async def start(self, port: int, *, host: str | None = None) -> None:
        """
        Listen on *port*; without *host* on all addresses.

        Raises:
            ConfigurationError: The port is taken or forbidden, or there is no such address.
        """
        try:
            self._server = await asyncio.start_server(
                self._serve, host=host, port=port, limit=8_192
            )
        except OSError as exc:
            where = f"health port {port}" if host is None else f"health port {port} of {host}"
            raise ConfigurationError(f"{where}: {_reason(exc)}") from None

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                status, body = self._answer(request.split(b"\r\n", 1)[0])
                head = (
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        except (OSError, EOFError, asyncio.LimitOverrunError):
            return  # a client that hangs, went away or sends garbage is no news
        finally:
            writer.close()

    def _answer(self, line: bytes) -> tuple[int, bytes]:
        method, _, rest = line.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return 405, b"{}"
        if path == "/live":
            # That this runs is the answer: the loop is not stuck in a handler.
            return 200, b'{"live": true}'
        if path != "/ready":
            return 404, b"{}"
        state = self._state()
        return (200 if state["ready"] else 503), json.dumps(state).encode()


def _reason(exc: OSError) -> str:
    # asyncio's own text repeats the address, as a tuple.
    if exc.errno is None or isinstance(exc, socket.gaierror):
        return exc.strerror or str(exc)
    return os.strerror(exc.errno).lower()
