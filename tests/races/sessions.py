"""Concurrent sessions under a test's control: start a statement, see that it waits, let it go."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from tests.support.sqljobs import value
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.sqljobs import Db

SECONDS = 30.0  # the deadline of everything here


@dataclass(frozen=True, slots=True)
class Pending:
    """A statement that runs on another thread."""

    conn: Db
    future: Future[list[tuple[Any, ...]]]
    watcher: Db

    def blocked(self) -> Pending:
        """Return when the statement waits for a lock; fail if it ends instead."""

        def waits() -> bool:
            assert not self.future.done(), f"it did not wait: {self.future.result(0)}"
            pids = value(self.watcher, "select pg_blocking_pids(%s)", self.conn.info.backend_pid)
            return bool(pids)

        eventually(waits, seconds=SECONDS, what="the statement waits for a lock")
        return self

    def rows(self) -> list[tuple[Any, ...]]:
        """What the statement returned; raises what it raised."""
        return self.future.result(SECONDS)

    def value(self) -> Any:
        """The one value that it returned."""
        ((found,),) = self.rows()
        return found

    def sqlstate(self) -> str | None:
        """The SQLSTATE with which it failed; None if it did not."""
        try:
            self.rows()
        except psycopg.Error as error:
            return error.sqlstate
        return None


class Sessions:
    """Runs statements on threads; every statement has a deadline on the server."""

    def __init__(self, watcher: Db) -> None:
        self._watcher = watcher
        self._pool = ThreadPoolExecutor(max_workers=80)

    def start(self, conn: Db, query: str, *values: Any) -> Pending:
        """
        Execute *query* on *conn* on a thread of its own.

        Args:
            conn: Used by nothing else until the result is there.
            query: One statement.
            values: For its placeholders.
        """

        def run() -> list[tuple[Any, ...]]:
            cursor = conn.execute(query, values)
            return cursor.fetchall() if cursor.description is not None else []

        return Pending(conn, self._pool.submit(run), self._watcher)

    def submit(self, task: Callable[[], Any]) -> Future[Any]:
        """
        Run a task of several statements on a thread of its own.

        Args:
            task: Uses connections of its own.
        """
        return self._pool.submit(task)

    def together(self, tasks: Sequence[Callable[[], Any]]) -> list[Any]:
        """
        Run all tasks at once, started by one signal; return their results in order.

        Args:
            tasks: Each uses connections of its own.
        """
        gate = threading.Barrier(len(tasks))

        def run(task: Callable[[], Any]) -> Any:
            gate.wait(SECONDS)
            return task()

        futures = [self._pool.submit(run, task) for task in tasks]
        return [future.result(2 * SECONDS) for future in futures]

    def close(self) -> None:
        """Wait for every thread; the server's statement timeout ends those that hang."""
        self._pool.shutdown(wait=True, cancel_futures=True)
