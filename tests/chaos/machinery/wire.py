"""
What a client says to PostgreSQL, message by message: enough to find the statement to cut at.

A parser per connection: it is fed the client's bytes and yields whole messages, each with the SQL
that it runs, through prepared statements too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message of the client.

    Attributes:
        data: As it was sent.
        sql: The statement that it runs; empty for others.
        encryption: A question for TLS or GSSAPI: the proxy says no.
    """

    data: bytes
    sql: bytes = b""
    encryption: bool = False


class ClientMessages:
    """
    Cuts the client's bytes into messages.

    Attributes:
        application: The name that the client gave when it connected.
    """

    def __init__(self) -> None:
        self.application = ""
        self._buffer = bytearray()
        self._started = False
        self._prepared: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take *data*; yield what is complete now."""
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        # The first message has no type byte.
        head = 1 if self._started else 0
        if len(self._buffer) < head + _LENGTH:
            return None
        (length,) = struct.unpack_from("!i", self._buffer, head)
        if len(self._buffer) < head + length:
            return None
        data = bytes(self._buffer[: head + length])
        del self._buffer[: head + length]
        if self._started:
            return Message(data, sql=self._sql(data))
        (code,) = struct.unpack_from("!i", data, _LENGTH)
        if code in {SSL_REQUEST, GSS_REQUEST}:
            return Message(data, encryption=True)
        self._started = True
        said = data[2 * _LENGTH :].split(b"\0")
        parameters = dict(zip(said[::2], said[1::2], strict=False))
        self.application = parameters.get(b"application_name", b"").decode("utf-8", "replace")
        return Message(data)

    def _sql(self, data: bytes) -> bytes:
        body = data[1 + _LENGTH :]
        match data[:1]:
            case b"Q":
                return body.rstrip(b"\0")
            case b"P":
                name, sql, _ = body.split(b"\0", 2)
                self._prepared[name] = sql
            case b"B":
                _, name, _ = body.split(b"\0", 2)
                return self._prepared.get(name, b"")
        return b""
