"""Messages between a worker and its child processes: pickled, each behind its length."""

from __future__ import annotations

import pickle
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import socket

__all__ = ["pack", "read", "receive"]

_LENGTH = struct.Struct(">Q")


def pack(message: object) -> bytes:
    """Encode *message*."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> Any:
    """
    Read the next message.

    Raises:
        EOFError: The other side is gone.
    """
    (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    # Both ends are this program; nobody else has the socket.
    return pickle.loads(await reader.readexactly(size))  # noqa: S301


def receive(sock: socket.socket) -> Any:
    """As `read`, blocking."""
    (size,) = _LENGTH.unpack(_exactly(sock, _LENGTH.size))
    return pickle.loads(_exactly(sock, size))  # noqa: S301


def _exactly(sock: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = sock.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
