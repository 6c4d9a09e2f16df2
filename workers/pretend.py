"""
An HTTP server that pretends to be somebody's API: for demos, and for tests of what goes wrong.

    with pretending(answer) as service:      # answer(request) gives the answer
        service.next(Answer(429, headers={"retry-after": "2"}))
        ...                                  # service.url is the base URL

It listens on a port of 127.0.0.1 that is free.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_GATE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """
    What was asked.

    Attributes:
        query: Its parameters; of repeated ones the last.
        headers: Names in lower case.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What is answered.

    Attributes:
        body: Bytes or text as they are, anything else as JSON.
        gate: Nothing is sent before this event (a minute at most).
        missing: So many bytes of what was announced are never sent.
    """

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None
    missing: int = 0

    def content(self) -> bytes:
        """What is sent as its body."""
        match self.body:
            case bytes():
                return self.body
            case str():
                return self.body.encode()
            case _:
                return json.dumps(self.body, default=str).encode()


class Pretender:
    """
    A running server.

    Attributes:
        url: Its base URL.
        requests: What it was asked, in order.
    """

    def __init__(self, answer: Callable[[Request], Answer], port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[Request] = []
        self._answer = answer
        self._next: deque[Answer] = deque()
        self._changed = threading.Condition()

    def next(self, *answers: Answer) -> None:
        """Answer the next requests with these, whatever they ask."""
        with self._changed:
            self._next.extend(answers)

    def gets(self, count: int, *, seconds: float = 30.0) -> list[Request]:
        """
        Wait until so many requests have come, counted from the start.

        Raises:
            TimeoutError: They did not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, seconds):
                raise TimeoutError(f"{len(self.requests)} of {count} requests in {seconds:g} s")
            return list(self.requests)

    def answered(self, request: Request) -> Answer:
        """Note a request and choose its answer."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            if self._next:
                return self._next.popleft()
        return self._answer(request)


@contextmanager
def pretending(answer: Callable[[Request], Answer]) -> Iterator[Pretender]:
    """
    Serve until the block ends.

    Args:
        answer: Called in a thread per connection.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 20
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            _respond(self, pretender)

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815  # the base calls these

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that break off are to be expected."""

    server = Server(("127.0.0.1", 0), Handler)
    pretender = Pretender(answer, server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield pretender
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _respond(handler: BaseHTTPRequestHandler, pretender: Pretender) -> None:
    parts = urlsplit(handler.path)
    length = int(handler.headers.get("content-length", 0))
    request = Request(
        method=handler.command,
        path=parts.path,
        query={name: values[-1] for name, values in parse_qs(parts.query).items()},
        headers={name.lower(): value for name, value in handler.headers.items()},
        body=handler.rfile.read(length),
    )
    answer = pretender.answered(request)
    if answer.gate is not None:
        answer.gate.wait(_GATE_SECONDS)
    content = answer.content()
    handler.send_response(answer.status)
    named = {"content-type": "application/json", "content-length": str(len(content))}
    for name, value in {**named, **answer.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content[: len(content) - answer.missing])
    handler.close_connection = answer.missing > 0
