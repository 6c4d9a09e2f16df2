"""A server with pgqueue in it, the processes that use it, and a history of what they saw."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from psycopg.conninfo import make_conninfo

from pgqueue.worker import WorkerSettings
from tests.chaos.history import Event, Recorder, events_of
from tests.chaos.server import Server
from tests.support.psql import REPOSITORY, psql

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import psycopg

    from tests.chaos.machinery.proxy import Proxy

DATABASE = "chaos"
QUEUES = ("fast", "bulk", "keyed")
WORKED = (*QUEUES, "flow")
END_SECONDS = 20.0
KEEP_SECONDS = 0.2
# When the harness dies: its processes, stopped ones too, and the directory. A number may be
# another's by now, so it must be one of ours.
GUARD = """
read -r said && exit
while read -r pid; do
    grep -qzF "CHAOS_HISTORY=$1/history" "/proc/$pid/environ" && kill -s KILL -- "-$pid"
done <"$1/pids"
sleep 5
rm -rf "$1" || { sleep 20; rm -rf "$1"; }  # the server may still be writing
"""


@dataclass(slots=True)
class Child:
    """A process of the arena; what it logs goes to a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """Its process id, and that of its process group."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended; a stopped one is alive."""
        return self.process.poll() is None

    @property
    def said(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace")

    def send(self, number: int, *, group: bool = True) -> None:
        """
        Send a signal; harmless when it has ended.

        Args:
            number: Of the signal.
            group: To its children too, as a machine that dies takes all of them.
        """
        if self.alive:
            try:
                (os.killpg if group else os.kill)(self.pid, number)
            except ProcessLookupError:
                return

    def ends(self, seconds: float = END_SECONDS) -> int:
        """Wait for its end; its exit status."""
        return self.process.wait(seconds)


class Arena:
    """
    See the module. Everything in it is removed at the end, unless *keep*.

    Args:
        version: Of PostgreSQL.
        seed: Of every random choice.
        settings: Server settings.
        environment: Of the postmaster.
        listen: TCP addresses of the server.
        server: Another one instead, not started yet.
        keep: Leave the directory, and say where it is.

    Attributes:
        server: The server.
        draw: The harness's own random choices.
        workers: Every worker process ever started.
        route: Conninfo parameters that lead worker connections elsewhere, for example
            `{"host": "127.0.0.1", "port": proxy.port}`; read at each start of a worker.
        producer_route: The same for producers.
        proxy: Between some of the processes and the server, if the run has one.
        errors: Faults of the harness itself: they fail the run.
        prepare: Called after the install, for what a load needs.
        patch: Applied to the database after that; how mutants are made.
        sql: Where the witnesses in the database are.
    """

    def __init__(
        self,
        version: int,
        seed: int,
        *,
        settings: Mapping[str, str | int] | None = None,
        environment: Mapping[str, str] | None = None,
        listen: str = "127.0.0.1",
        server: Server | None = None,
        keep: bool = False,
    ) -> None:
        self.seed = seed
        self.draw = random.Random(seed)  # noqa: S311
        self.directory = Path(tempfile.mkdtemp(prefix="pgqueue-chaos-"))
        self.directory.chmod(0o755)
        self.history = self.directory / "history"
        self.history.mkdir()
        self.server = server or Server(
            version,
            self.directory / "server",
            settings=settings,
            environment=environment,
            listen=listen,
        )
        self.keep = keep
        self.workers: list[Child] = []
        self.producers: list[Child] = []
        self.route: dict[str, str | int] = {}
        self.producer_route: dict[str, str | int] = {}
        self.errors: list[str] = []
        self.proxy: Proxy | None = None
        self.sql = Path(__file__).parent / "sql"
        self.prepare: Callable[[Arena], None] | None = None
        self.patch: Callable[[psycopg.Connection[Any]], None] | None = None
        self.record = Recorder(self.history, "harness")
        self._pids = self.directory / "pids"
        self._pids.touch()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "sh", str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._numbers = 0
        self._lock = threading.RLock()
        self._wanted: list[dict[str, Any]] = []
        self._keeper: threading.Thread | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        try:
            self.server.start()
            self.install()
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
        self.close()

    def install(self) -> None:
        """Create the database with pgqueue, the witness and the roles in it."""
        self.server.install(DATABASE)
        psql(self.server.dsn(DATABASE), file=self.sql / "witness.sql")
        if self.prepare is not None:
            self.prepare(self)
        if self.patch is not None:
            with self.db() as db:
                self.patch(db)

    def db(self) -> psycopg.Connection[Any]:
        """Open an autocommit connection to the database as superuser; the caller closes it."""
        return self.server.connect(DATABASE, application_name="harness")

    def dsn(self, user: str, name: str, route: Mapping[str, str | int] | None = None) -> str:
        """
        Conninfo of the database.

        Args:
            user: chaos_worker, chaos_producer or chaos_operator.
            name: The application name: whose connection it is.
            route: Parameters that lead it elsewhere.
        """
        direct = self.server.dsn(DATABASE, user=user, application_name=name)
        return make_conninfo(direct, **(route or {}))

    def start_worker(
        self,
        name: str | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        dsn: str | None = None,
        route: Mapping[str, str | int] | None = None,
        wrapper: tuple[str, ...] = (),
        **options: Any,
    ) -> Child:
        """
        Start a worker process of tests.chaos.worker, which records what it claims and reports.

        Args:
            name: Also its application name; by default w1, w2, ...
            environment: More variables, for example PGQUEUE_TEST_PAUSE.
            dsn: Its database; by default ours, by `route`.
            route: Instead of the arena's.
            wrapper: Put before the command, for example `("ip", "netns", "exec", "x")`.
            options: As WorkerSettings takes them.
        """
        with self._lock:
            self._numbers += 1
            name = name or f"w{self._numbers}"
        defaults: dict[str, Any] = {
            "queues": WORKED,
            "concurrency": 8,
            "lease_seconds": 2.0,
            "poll_seconds": 1.0,
            "shutdown_seconds": 3.0,
        }
        settings = WorkerSettings(name=name, **{**defaults, **options})
        spec = {
            "apps": ["tests.chaos.handlers:jobs"],
            "settings": settings.to_json(),
            "log_level": "WARNING",
            "log_json": False,
        }
        child = self._start(
            name,
            [*wrapper, sys.executable, "-m", "tests.chaos.worker", json.dumps(spec)],
            {
                "PGQUEUE_DSN": dsn
                or self.dsn("chaos_worker", name, self.route if route is None else route),
                **(environment or {}),
            },
        )
        child.options = options
        with self._lock:
            self.workers.append(child)
        return child

    def start_producer(
        self, name: str, *, route: Mapping[str, str | int] | None = None, **spec: Any
    ) -> Child:
        """
        Start a process of tests.chaos.producer.

        Args:
            name: Also its application name.
            route: Instead of the arena's.
            spec: What it does.
        """
        way = self.producer_route if route is None else route
        spec.setdefault("seed", f"{self.seed} {name}")
        child = self._start(
            name,
            [sys.executable, "-m", "tests.chaos.producer", json.dumps(spec)],
            {
                "PGQUEUE_DSN": self.dsn("chaos_producer", name, way),
                "CHAOS_OPERATOR_DSN": self.dsn("chaos_operator", name, way),
                "CHAOS_WORKER_DSN": self.dsn("chaos_worker", name, way),
            },
        )
        with self._lock:
            self.producers.append(child)
        return child

    def keep_workers(self, *each: Mapping[str, Any]) -> None:
        """
        Have so many workers running, as a supervisor would: one that ended is replaced.

        Args:
            each: The options of each, as `start_worker` takes them; none: no longer.
        """
        with self._lock:
            self._wanted = [dict(options) for options in each]
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, daemon=True)
            self._keeper.start()

    @property
    def alive(self) -> list[Child]:
        """The worker processes that have not ended."""
        with self._lock:
            return [worker for worker in self.workers if worker.alive]

    def events(self) -> list[Event]:
        """What all processes saw, by time."""
        return events_of(self.history)

    def close(self) -> None:
        """End every process, stop the server, remove the directory."""
        self._over.set()
        if self._keeper is not None:
            self._keeper.join(END_SECONDS)
        for child in [*self.workers, *self.producers]:
            child.send(signal.SIGKILL)
            child.ends()
            if child.process.stdin is not None:
                child.process.stdin.close()
        self.server.close()
        self.record.close()
        self._guard.communicate(b"done\n", timeout=END_SECONDS)
        if self.keep:
            sys.stdout.write(f"kept: {self.directory}\n")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, name: str, command: list[str], environment: Mapping[str, str]) -> Child:
        path = self.directory / f"{name}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env={
                    **{k: v for k, v in os.environ.items() if not k.startswith(("PG", "PGQUEUE"))},
                    "CHAOS_HISTORY": str(self.history),
                    "CHAOS_NAME": name,
                    **environment,
                },
                start_new_session=True,
            )
        with self._lock, self._pids.open("a", encoding="ascii") as pids:
            pids.write(f"{process.pid}\n")
        return Child(name, process, path)

    def _keep(self) -> None:
        kept: dict[int, Child] = {}
        while not self._over.wait(KEEP_SECONDS):
            with self._lock:
                wanted = dict(enumerate(self._wanted))
            for n, options in wanted.items():
                if n not in kept or not kept[n].alive:
                    kept[n] = self.start_worker(**options)
