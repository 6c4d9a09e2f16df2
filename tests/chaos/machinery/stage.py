"""A server of its own with pgqueue on it and worker processes, for one scenario with one fault."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.chaos.server import Server
from tests.support.cluster import wanted_version
from tests.support.databases import violations
from tests.support.wait import eventually
from tests.support.workers import worker_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import psycopg

    from tests.support.workers import WorkerProcess

DATABASE = "chaos"


class Stage:
    """
    See the module. Everything is removed at the end; the invariants must hold then.

    Args:
        directory: Where the server lives; None makes one.
        server: Arguments for Server, beside version and directory.

    Attributes:
        server: The server.
        directory: Of this stage.
    """

    def __init__(self, directory: Path | None = None, **server: Any) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pgqueue-stage-"))
        self.directory.chmod(0o755)
        self.server = Server(wanted_version(), directory or self.directory / "server", **server)
        self._opened = ExitStack()

    def dsn(self, *, tcp: bool = False, **more: str | int) -> str:
        """Conninfo of the database; `more` as conninfo parameters."""
        return self.server.dsn(DATABASE, tcp=tcp, **more)

    def db(self, **more: Any) -> psycopg.Connection[Any]:
        """Open an autocommit connection that the stage closes."""
        return self._opened.enter_context(self.server.connect(DATABASE, **more))

    def worker(self, name: str, *, dsn: str | None = None, **more: Any) -> WorkerProcess:
        """
        Start a worker process and wait until it works; it is killed at the end.

        Args:
            name: Its name.
            dsn: Its database; ours by default.
            more: As `worker_process` and WorkerSettings take them.
        """
        options = {"lease_seconds": 4.0, "poll_seconds": 1.0, "concurrency": 8, **more}
        running = worker_process(dsn or self.dsn(), self.directory, name=name, **options)
        return self._opened.enter_context(running)

    def __enter__(self) -> Self:
        try:
            self.server.start()
            self.server.install(DATABASE)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._opened.close()
            if exc is None:
                assert violations(self.dsn()) == []
        finally:
            self.close()

    def close(self) -> None:
        """Stop everything and remove it."""
        self._opened.close()
        self.server.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def seconds_until(fact: Callable[[], object], *, seconds: float = 60.0, what: str = "") -> float:
    """How long it takes until *fact* is true; fails after *seconds*."""
    began = time.monotonic()
    eventually(fact, seconds=seconds, what=what)
    return time.monotonic() - began
