"""
A TCP proxy in front of PostgreSQL that fails on command.

    with Proxy(dsn) as proxy:
        proxy.cut(Cut("after"), times=3)     # the next three COMMITs lose their replies
        proxy.faults = Faults(latency_seconds=0.2, slice_bytes=1)
        psycopg.connect(proxy.dsn)

It runs an asyncio loop in a thread of its own. Encryption is refused, so that it can read along.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.chaos.machinery.wire import ClientMessages

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Any

    from tests.chaos.machinery.wire import Message

T = TypeVar("T")

Direction = Literal["up", "down", "both"]
Moment = Literal["before", "during", "after", "first byte"]

_CHUNK = 64 * 1024
_CONTROL_SECONDS = 10.0
# After the client is gone its connection to the server is kept open so long, so that it may commit.
_ANSWER_SECONDS = 5.0
_LINGER_NONE = struct.pack("ii", 1, 0)  # close() resets


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """
    What is wrong with the line; may be changed at any time, for connections that are open too.

    Attributes:
        latency_seconds: Added to each chunk, each way.
        jitter_seconds: Up to so much more.
        slice_bytes: Chunks are cut into pieces of this size.
        bytes_per_second: Bandwidth of each direction of each connection.
        black_hole: What goes that way is kept until the hole closes.
        refuse: New connections are reset.
    """

    latency_seconds: float = 0.0
    jitter_seconds: float = 0.0
    slice_bytes: int | None = None
    bytes_per_second: float | None = None
    black_hole: Direction | None = None
    refuse: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """
    Lose one connection at a statement.

    Attributes:
        moment: "before" it reaches the server; "during" its work: the client is cut off while the
            server goes on; "after" the server has answered, and the client has heard nothing; after
            the "first byte" of that answer.
        sql: Statements that begin so, whatever their case.
    """

    moment: Moment
    sql: bytes = b"commit"

    def matches(self, message: Message) -> bool:
        """Whether this is the statement."""
        return bool(message.sql) and message.sql.strip().lower().startswith(self.sql)


@dataclass(eq=False, slots=True)
class _Line:
    """One client's connection and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    messages: ClientMessages = field(default_factory=ClientMessages)
    doomed: Moment | None = None
    black_hole: Direction | None = None

    def abort(self) -> None:
        for writer in (self.client, self.server):
            _reset(writer)


class Proxy:
    """
    See the module.

    Args:
        dsn: The server behind it.
        host: Where it listens, on a port of the kernel's choice.
        seed: Of the jitter.

    Attributes:
        faults: The line's condition.
        cuts_done: How many connections were cut at a statement.
        connections: How many were accepted.
    """

    def __init__(self, dsn: str, *, host: str = "127.0.0.1", seed: int = 0) -> None:
        self.faults = Faults()
        self.cuts_done = 0
        self.connections = 0
        self.port = 0
        self._target = dsn
        self._host = host
        self._random = random.Random(seed)  # noqa: S311  # repeatable, not secret
        self._cuts: deque[Cut] = deque()
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def dsn(self) -> str:
        """Conninfo that leads through the proxy."""
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        return make_conninfo(self._target, **plain, host=self._host, hostaddr=None, port=self.port)

    @property
    def open_lines(self) -> int:
        """How many connections are open."""
        return len(self._lines)

    def cut(self, cut: Cut, *, times: int = 1) -> None:
        """Cut at the next *times* statements that match; cuts take their turns in order."""
        self._cuts.extend([cut] * times)

    def forget_cuts(self) -> None:
        """Cut no more."""
        self._cuts.clear()

    def reset(self, *, share: float = 1.0) -> int:
        """Reset a random *share* of the open connections; how many."""
        return self._ask(self._reset_lines(share))

    def swallow(self, application: str, way: Direction | None = "both") -> int:
        """
        Open a black hole in the open connections of one application; how many.

        The kernel still acknowledges what is sent: only the application's own deadline notices.

        Args:
            application: How its name begins.
            way: None closes the hole.
        """
        chosen = [
            line for line in list(self._lines) if line.messages.application.startswith(application)
        ]
        for line in chosen:
            line.black_hole = way
        return len(chosen)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ask(self._listen())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ask(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CONTROL_SECONDS)
        self._loop.close()

    def _ask(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(_CONTROL_SECONDS)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._reset_lines(1.0)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reset_lines(self, share: float) -> int:
        chosen = [line for line in self._lines if self._random.random() < share]
        for line in chosen:
            line.abort()
        return len(chosen)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: the tasks are ours, so that closing can end them.
        self.connections += 1
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.faults.refuse:
            _reset(writer)
            return
        try:
            server_reader, server_writer = await self._dial()
        except OSError:
            _reset(writer)
            return
        line = _Line(writer, server_writer)
        self._lines.add(line)
        ways = [self._upwards(line, reader), self._downwards(line, server_reader)]
        up, down = tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if line.doomed == "during" and up.done():
                _reset(line.client)
                await asyncio.wait([down], timeout=_ANSWER_SECONDS)
        finally:
            self._lines.discard(line)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            line.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        where = conninfo_to_dict(self._target)
        host, port = str(where.get("host") or "localhost"), int(where.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _upwards(self, line: _Line, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                for message in line.messages.feed(data):
                    if message.encryption:
                        line.client.write(b"N")
                        continue
                    self._doom(line, message)
                    if line.doomed == "before":
                        return
                    await self._send(line, message.data, "up")
                # Only now: what follows in one breath (Execute, Sync) belongs to the statement.
                if line.doomed == "during":
                    return

    def _doom(self, line: _Line, message: Message) -> None:
        if line.doomed is None and self._cuts and self._cuts[0].matches(message):
            line.doomed = self._cuts.popleft().moment
            self.cuts_done += 1

    async def _downwards(self, line: _Line, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if line.doomed == "first byte":
                    line.client.write(data[:1])
                    await line.client.drain()
                if line.doomed is not None:
                    return
                await self._send(line, data, "down")

    async def _send(self, line: _Line, data: bytes, way: Direction) -> None:
        faults = self.faults
        writer = line.server if way == "up" else line.client
        size = faults.slice_bytes or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            await self._delay(line, len(piece), way, first=start == 0)
            writer.write(piece)
            await writer.drain()

    async def _delay(self, line: _Line, size: int, way: Direction, *, first: bool) -> None:
        faults = self.faults
        pause = size / faults.bytes_per_second if faults.bytes_per_second else 0.0
        if first:
            pause += faults.latency_seconds + self._random.uniform(0, faults.jitter_seconds)
        if pause:
            await asyncio.sleep(pause)
        holes = {way, "both"}
        while self.faults.black_hole in holes or line.black_hole in holes:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # set from another thread: no event


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    writer.transport.abort()
