"""Where a case is measured: a fresh database with the schema, and the tools to load it."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue.bench.model import Unavailable
from pgqueue.bench.queries import statement
from pgqueue.bench.server import describe_server
from pgqueue.connection import connect
from pgqueue.dsn import Timeouts, describe_dsn
from pgqueue.errors import ConfigurationError, WaitTimeout
from pgqueue.migrate import migrate
from pgqueue.scratch import scratch_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgqueue.bench.pgbench import Pgbench
    from pgqueue.bench.server import Server
    from pgqueue.bench.settings import BenchSettings

__all__ = ["Counters", "Place", "Stage", "given_place", "scratch_place"]

STATEMENT_SECONDS = 900.0  # a view over ten million rows, an index vacuumed
_TIMEOUTS = Timeouts(statement=STATEMENT_SECONDS, lock=60, idle_in_transaction=STATEMENT_SECONDS)
_PAUSE_SECONDS = 0.02

_log = logging.getLogger("pgqueue.bench")


@dataclass(frozen=True, slots=True)
class Counters:
    """
    What the server has counted so far.

    Attributes:
        at: By the monotonic clock.
        wal: Bytes.
        commits: In this database.
        claimed: Jobs.
        ready_buffers: Blocks of the table ready and its indexes that were looked at.
        cpu: Seconds of all processes of the server; None if unknown.
    """

    at: float
    wal: float
    commits: float
    claimed: float
    ready_buffers: float
    cpu: float | None


class Stage:
    """
    One database, for one measurement.

    Args:
        dsn: The database; it has the schema.
        server: What is known of it.
        settings: How much to do.
        pgbench: The program, if there is one.
        folder: For files.
        schema: It has our schema.
        place: Where it is; None if that is one database only.
    """

    def __init__(
        self,
        dsn: str,
        *,
        server: Server,
        settings: BenchSettings,
        pgbench: Pgbench | None,
        folder: Path,
        schema: bool,
        place: Place | None = None,
    ) -> None:
        self.dsn = dsn
        self.server = server
        self.settings = settings
        self.pgbench = pgbench
        self.folder = folder
        self._schema = schema
        self._place = place
        self._stack = ExitStack()
        self.connection = self._stack.enter_context(self.connect())
        self._checkpoint()

    def connect(self) -> psycopg.Connection[Any]:
        """Open one more connection, autocommit."""
        return connect(
            self.dsn,
            application_name="pgqueue bench",
            timeouts=_TIMEOUTS,
            checked=self._schema,
        )

    @contextmanager
    def twin(self) -> Iterator[Stage | None]:
        """Build another stage to compare this one with; None where there is one database only."""
        if self._place is None:
            yield None
            return
        with self._place.stage(self.settings, self.pgbench) as found:
            yield found

    def close(self) -> None:
        """Close our own connection."""
        self._stack.close()

    def execute(self, name: str, *values: Any) -> None:
        """Run one of our statements."""
        self.connection.execute(statement(name).encode(), values or None)

    def row(self, name: str, *values: Any) -> tuple[Any, ...]:
        """Run one of our queries; its first row."""
        cursor = self.connection.execute(statement(name).encode(), values or None)
        return tuple(cursor.fetchall()[0])

    def value(self, name: str, *values: Any) -> Any:
        """Run one of our queries; the first value of its first row."""
        return self.row(name, *values)[0]

    def counters(self) -> Counters:
        """Read them."""
        wal, commits, claimed, ready_buffers = self.row("counters")
        return Counters(
            time.monotonic(), wal, commits, claimed, ready_buffers, self.server.cpu_seconds()
        )

    def wait(self, condition: Callable[[], object], what: str, *, seconds: float) -> None:
        """
        Wait for a condition.

        Args:
            condition: Asked again and again.
            what: For the message.
            seconds: The deadline.

        Raises:
            WaitTimeout: It does not.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise WaitTimeout(f"waited {seconds:g} s in vain: {what}")
            time.sleep(_PAUSE_SECONDS)

    def _checkpoint(self) -> None:
        # So that no case pays for its predecessor's dirty pages. Needs pg_checkpoint.
        try:
            self.execute("checkpoint")
        except psycopg.errors.InsufficientPrivilege:
            _log.debug("no checkpoint before a case: the role lacks pg_checkpoint")


class Place:
    """
    Where stages are built.

    Args:
        base: Leads to the server.
        given: An empty database to use instead of making some; None to make them.
        template: The database that each stage is a copy of.
    """

    def __init__(self, base: str, *, given: bool, template: str | None = None) -> None:
        self._base = base
        self._given = given
        self._template = template
        with self._plain(base) as connection:
            self.server = describe_server(connection)

    @contextmanager
    def stage(
        self, settings: BenchSettings, pgbench: Pgbench | None, *, schema: bool = True
    ) -> Iterator[Stage]:
        """
        Build a stage; it is gone at the end.

        Args:
            settings: How much to do there.
            pgbench: The program, if there is one.
            schema: False for an empty database.

        Raises:
            Unavailable: The given database cannot serve somebody who does not clean up.
        """
        if self._given and not schema:
            raise Unavailable("it needs a database of its own, and the role may not create one")
        with ExitStack() as stack:
            if self._given:
                dsn = self._base
                stack.callback(_uninstall, dsn)
                _install(dsn)
            else:
                template = self._template if schema else None
                dsn = stack.enter_context(
                    scratch_database(self._base, prefix="pgqueue_bench", template=template)
                )
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgqueue-bench-")))
            stage = Stage(
                dsn,
                server=self.server,
                settings=settings,
                pgbench=pgbench,
                folder=folder,
                schema=schema,
                place=None if self._given else self,
            )
            stack.callback(stage.close)
            yield stage

    @staticmethod
    def _plain(dsn: str) -> Any:
        return connect(dsn, application_name="pgqueue bench", timeouts=_TIMEOUTS, checked=False)


@contextmanager
def scratch_place(dsn: str) -> Iterator[Place]:
    """
    Stages in databases that are created and dropped.

    Args:
        dsn: Leads to any database of the server.

    Raises:
        PermissionDenied: The role may not create databases.
    """
    with scratch_database(dsn, prefix="pgqueue_bench_template") as template:
        _install(template)
        yield Place(
            dsn, given=False, template=str(psycopg.conninfo.conninfo_to_dict(template)["dbname"])
        )


@contextmanager
def given_place(dsn: str) -> Iterator[Place]:
    """
    Stages in one database that exists; the schema comes and goes.

    Args:
        dsn: The database. It must not have a schema pgqueue: a benchmark drops it.

    Raises:
        ConfigurationError: It has one.
    """
    with connect(dsn, application_name="pgqueue bench", checked=False) as connection:
        found = connection.execute(statement("has_schema").encode()).fetchall()[0][0]
    if found:
        raise ConfigurationError(
            f"{describe_dsn(dsn)} has a schema pgqueue, and a benchmark would drop its jobs",
            hint="Name an empty database, or leave --database out: with CREATEDB the benchmark"
            " makes its own.",
        )
    yield Place(dsn, given=True)


def _install(dsn: str) -> None:
    migrate(dsn)
    with connect(dsn, application_name="pgqueue bench", timeouts=_TIMEOUTS) as connection:
        connection.execute(statement("install").encode())


def _uninstall(dsn: str) -> None:
    with connect(
        dsn, application_name="pgqueue bench", timeouts=_TIMEOUTS, checked=False
    ) as connection:
        connection.execute(statement("uninstall").encode())
