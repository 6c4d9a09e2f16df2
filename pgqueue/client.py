"""
Enqueue jobs and look after them: `Client`, and `AsyncClient` with the same methods for asyncio.

    with Client() as client:
        job_id = client.enqueue("send_invoice", {"order": 17}, delay=60)
        print(client.wait(job_id, timeout=90).result)

    # In the transaction of conn, a psycopg connection: it commits with that or not at all.
    client.enqueue("send_invoice", {"order": 17}, connection=conn)

Both stand in one file, so that a change to one is seen beside the other.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pgqueue import calls
from pgqueue.batches import AsyncBatch, Batch
from pgqueue.calls import Call, OnDuplicate, drive, drive_async, run, run_async
from pgqueue.connection import AsyncBoundedConnection, BoundedConnection, Endpoint, endpoint
from pgqueue.hearing import listening, listening_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Unpack
    from uuid import UUID

    from pgqueue.calls import Enqueued, JobOptions, JobStatus, NewJob
    from pgqueue.dsn import Timeouts

__all__ = ["AsyncClient", "Client"]

POOL_SIZE = 4
# How long calls that may be repeated are, while the database restarts or fails over.
RETRY_SECONDS = 10.0
WAIT_SECONDS = 60.0
_CLOSE_SECONDS = 5.0

P = ParamSpec("P")
T = TypeVar("T")


_Failure = tuple[float, Exception]  # when the last attempt to connect failed, and why


def _share(failure: _Failure | None, asked: float) -> None:
    """Raise the failure we waited for: N callers must not wait N timeouts, one after another."""
    if failure is not None and failure[0] > asked:
        raise failure[1]


def _method(build: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """Make a method that runs the call which *build* builds."""

    @functools.wraps(build)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(build(*args, **kwargs))

    return method


def _async_method(
    build: Callable[P, Call[T]],
) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    @functools.wraps(build)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(build(*args, **kwargs))

    return method


class Client:
    """
    A producer's and operator's access to the queue. Safe to share between threads.

    Args:
        source: A DSN (None: PGQUEUE_DSN or libpq's PG* variables), a psycopg pool, or an open
            connection. A pool or connection given here is used as it is and stays open.
        application_name: What the server shows.
        timeouts: Instead of the defaults.
        pooler: A transaction pooler stands in between; None asks PGQUEUE_POOLER.
        pool_size: At most so many connections are opened.
        retry_seconds: While the database is unavailable, calls that may be repeated (enqueue
            without merging, status, cancel, pause ...) are, for so long. 0 fails at once.

    Raises:
        ConfigurationError: No DSN, or one that cannot be read.
    """

    def __init__(
        self,
        source: str | ConnectionPool[Any] | psycopg.Connection[Any] | None = None,
        *,
        application_name: str | None = None,
        timeouts: Timeouts | None = None,
        pooler: bool | None = None,
        pool_size: int = POOL_SIZE,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._pool_size = pool_size
        self._endpoint: Endpoint | None = None
        self._failure: _Failure | None = None
        self._pool: ConnectionPool[Any] | None = None
        self._connection: psycopg.Connection[Any] | None = None
        match source:
            case psycopg.Connection():
                self._connection = source
            case ConnectionPool():
                self._pool = source
            case _:
                self._endpoint = endpoint(
                    source, application_name=application_name, timeouts=timeouts, pooler=pooler
                )

    def open(self) -> Self:
        """
        Connect now instead of at the first call.

        Raises:
            DatabaseUnavailable: No server there.
            NotPrimary: The server is a standby or read-only.
            SchemaMismatch: The schema is missing or of another version.
            PermissionDenied: This role may not use the schema.
        """
        self._opened()
        return self

    def close(self) -> None:
        """Close what this client opened; it can be used again."""
        with self._lock:
            if self._endpoint is not None and self._pool is not None:
                self._pool.close(timeout=_CLOSE_SECONDS)
                self._pool = None

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, call: Call[T], *, connection: psycopg.Connection[Any] | None = None) -> T:
        """
        Run any call of `pgqueue.calls`.

        Args:
            call: What to run.
            connection: Run it there, in its transaction, instead of on a connection of ours.
        """
        given = connection or self._connection
        if given is not None:
            return run(given, call)
        return drive(self._execute, calls.persist(call, seconds=self._retry_seconds))

    def enqueue(
        self,
        job_type: str,
        payload: object = None,
        *,
        on_duplicate: OnDuplicate = "ignore",
        connection: psycopg.Connection[Any] | None = None,
        **options: Unpack[JobOptions],
    ) -> UUID:
        """
        Enqueue one job; return the id of the job that serves the request.

        Args:
            job_type: Names the handler.
            payload: A JSON object, a dataclass or a pydantic or msgspec model.
            on_duplicate: What becomes of an unfinished job with the same unique_key: `ignore`
                (it serves), `replace` its payload, `debounce` (payload and time) or `merge`.
            connection: Enqueue in this connection's transaction: commits with it or not at all.
            **options: See JobOptions.

        Raises:
            InvalidArgument: What cannot be a job; the message names the field.
        """
        call = calls.enqueue(job_type, payload, on_duplicate=on_duplicate, **options)
        return self.run(call, connection=connection)

    def enqueue_many(
        self,
        jobs: Iterable[NewJob],
        *,
        on_duplicate: OnDuplicate = "ignore",
        connection: psycopg.Connection[Any] | None = None,
    ) -> list[Enqueued]:
        """
        Enqueue jobs in one round trip, all or none; return an answer for each, in their order.

        Args:
            jobs: From `new_job`.
            on_duplicate: As for `enqueue`.
            connection: As for `enqueue`.

        Raises:
            InvalidArgument: What cannot be a job; the message names its number and the field.
            DatabaseUnavailable: Also when the reply was lost; the jobs may have been stored then.
        """
        call = calls.enqueue_many(jobs, on_duplicate=on_duplicate)
        return self.run(call, connection=connection)

    def wait(self, job_id: UUID, *, timeout: float = WAIT_SECONDS) -> JobStatus:
        """
        Look at a job, at growing intervals up to a second, until it has finished.

        Args:
            job_id: The job; its insert must have committed.
            timeout: In seconds.

        Raises:
            JobNotFound: There is none.
            WaitTimeout: It has not finished in time; it goes on.
        """
        return drive(self.run, calls.wait_until_finished(job_id, seconds=timeout))

    def wait_for(self, job_id: UUID, *, timeout: float = WAIT_SECONDS) -> JobStatus:
        """
        As `wait`, on a connection that listens: a job enqueued with notify=True is heard at once.

        Behind a pooler, and for other jobs, it looks as `wait` does.

        Args:
            job_id: The job; its insert must have committed.
            timeout: In seconds.

        Raises:
            JobNotFound: There is none.
            WaitTimeout: It has not finished in time; it goes on.
        """
        script = calls.wait_until_finished(job_id, seconds=timeout)
        with listening(self._endpoint, job_id) as pause:
            return drive(self.run, script, pause=pause)

    @contextmanager
    def batch(
        self,
        name: str | None = None,
        *,
        on_success: NewJob | None = None,
        on_failure: NewJob | None = None,
        on_complete: NewJob | None = None,
    ) -> Iterator[Batch]:
        """
        Open a batch, and close it at the end of the block; an exception leaves it open.

        Args:
            name: For people.
            on_success: From `new_job`: enqueued when all jobs have succeeded.
            on_failure: Enqueued when the first has failed or was cancelled.
            on_complete: Enqueued when all have finished.
        """
        call = calls.open_batch(
            name, on_success=on_success, on_failure=on_failure, on_complete=on_complete
        )
        opened = Batch(self.run(call), self)
        yield opened
        self.run(calls.close_batch(opened.id))

    open_batch = _method(calls.open_batch)
    close_batch = _method(calls.close_batch)
    batch_status = _method(calls.batch_status)
    signal = _method(calls.signal)
    signal_by_token = _method(calls.signal_by_token)
    signal_token = _method(calls.signal_token)
    status = _method(calls.status)
    take_completions = _method(calls.take_completions)
    ack_completions = _method(calls.ack_completions)
    cancel = _method(calls.cancel)
    retry = _method(calls.retry)
    redrive = _method(calls.redrive)
    reschedule = _method(calls.reschedule)
    reprioritise = _method(calls.reprioritise)
    pause_queue = _method(calls.pause_queue)
    resume_queue = _method(calls.resume_queue)
    purge_queue = _method(calls.purge_queue)
    pause_job_type = _method(calls.pause_job_type)
    resume_job_type = _method(calls.resume_job_type)
    why_waiting = _method(calls.why_waiting)

    def _execute(self, call: Call[Any]) -> Any:
        pool = self._opened()
        try:
            with pool.connection(timeout=max(self._retry_seconds, 1.0)) as conn:
                return run(conn, call)
        except psycopg.Error as exc:
            raise calls.translated(exc) from exc

    def _opened(self) -> ConnectionPool[Any]:
        asked = time.monotonic()
        with self._lock:
            if self._pool is None:
                assert self._endpoint is not None
                _share(self._failure, asked)
                # A pool tries for ever and keeps the reason to itself: the first connection is
                # made here, so that a wrong DSN or schema is an error with its reason, at once.
                try:
                    self._endpoint.connect().close()
                except Exception as exc:
                    self._failure = time.monotonic(), exc
                    raise
                self._pool = ConnectionPool(
                    self._endpoint.conninfo,
                    connection_class=BoundedConnection,
                    kwargs=self._endpoint.arguments,
                    configure=self._endpoint.prepare,
                    min_size=0,
                    max_size=self._pool_size,
                    open=True,
                    name="pgqueue",
                )
            return self._pool


class AsyncClient:
    """As `Client`, for asyncio: the same arguments and methods. One per event loop."""

    def __init__(
        self,
        source: str | AsyncConnectionPool[Any] | psycopg.AsyncConnection[Any] | None = None,
        *,
        application_name: str | None = None,
        timeouts: Timeouts | None = None,
        pooler: bool | None = None,
        pool_size: int = POOL_SIZE,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._retry_seconds = retry_seconds
        self._lock = asyncio.Lock()
        self._pool_size = pool_size
        self._endpoint: Endpoint | None = None
        self._failure: _Failure | None = None
        self._pool: AsyncConnectionPool[Any] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None
        match source:
            case psycopg.AsyncConnection():
                self._connection = source
            case AsyncConnectionPool():
                self._pool = source
            case _:
                self._endpoint = endpoint(
                    source, application_name=application_name, timeouts=timeouts, pooler=pooler
                )

    async def open(self) -> Self:
        """Connect now; see `Client.open`."""
        await self._opened()
        return self

    async def close(self) -> None:
        """Close what this client opened; it can be used again."""
        async with self._lock:
            if self._endpoint is not None and self._pool is not None:
                await self._pool.close(timeout=_CLOSE_SECONDS)
                self._pool = None

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def run(
        self, call: Call[T], *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> T:
        """Run any call of `pgqueue.calls`; see `Client.run`."""
        given = connection or self._connection
        if given is not None:
            return await run_async(given, call)
        script = calls.persist(call, seconds=self._retry_seconds)
        return await drive_async(self._execute, script)

    async def enqueue(
        self,
        job_type: str,
        payload: object = None,
        *,
        on_duplicate: OnDuplicate = "ignore",
        connection: psycopg.AsyncConnection[Any] | None = None,
        **options: Unpack[JobOptions],
    ) -> UUID:
        """Enqueue one job; see `Client.enqueue`."""
        call = calls.enqueue(job_type, payload, on_duplicate=on_duplicate, **options)
        return await self.run(call, connection=connection)

    async def enqueue_many(
        self,
        jobs: Iterable[NewJob],
        *,
        on_duplicate: OnDuplicate = "ignore",
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> list[Enqueued]:
        """Enqueue jobs in one round trip, all or none; see `Client.enqueue_many`."""
        call = calls.enqueue_many(jobs, on_duplicate=on_duplicate)
        return await self.run(call, connection=connection)

    async def wait(self, job_id: UUID, *, timeout: float = WAIT_SECONDS) -> JobStatus:
        """Look at a job until it has finished; see `Client.wait`."""
        script = calls.wait_until_finished(job_id, seconds=timeout)
        return await drive_async(self.run, script)

    async def wait_for(self, job_id: UUID, *, timeout: float = WAIT_SECONDS) -> JobStatus:
        """Listen, and look, until a job has finished; see `Client.wait_for`."""
        script = calls.wait_until_finished(job_id, seconds=timeout)
        async with listening_async(self._endpoint, job_id) as pause:
            return await drive_async(self.run, script, pause=pause)

    @asynccontextmanager
    async def batch(
        self,
        name: str | None = None,
        *,
        on_success: NewJob | None = None,
        on_failure: NewJob | None = None,
        on_complete: NewJob | None = None,
    ) -> AsyncIterator[AsyncBatch]:
        """Open a batch for a block; see `Client.batch`."""
        call = calls.open_batch(
            name, on_success=on_success, on_failure=on_failure, on_complete=on_complete
        )
        opened = AsyncBatch(await self.run(call), self)
        yield opened
        await self.run(calls.close_batch(opened.id))

    open_batch = _async_method(calls.open_batch)
    close_batch = _async_method(calls.close_batch)
    batch_status = _async_method(calls.batch_status)
    signal = _async_method(calls.signal)
    signal_by_token = _async_method(calls.signal_by_token)
    signal_token = _async_method(calls.signal_token)
    status = _async_method(calls.status)
    take_completions = _async_method(calls.take_completions)
    ack_completions = _async_method(calls.ack_completions)
    cancel = _async_method(calls.cancel)
    retry = _async_method(calls.retry)
    redrive = _async_method(calls.redrive)
    reschedule = _async_method(calls.reschedule)
    reprioritise = _async_method(calls.reprioritise)
    pause_queue = _async_method(calls.pause_queue)
    resume_queue = _async_method(calls.resume_queue)
    purge_queue = _async_method(calls.purge_queue)
    pause_job_type = _async_method(calls.pause_job_type)
    resume_job_type = _async_method(calls.resume_job_type)
    why_waiting = _async_method(calls.why_waiting)

    async def _execute(self, call: Call[Any]) -> Any:
        pool = await self._opened()
        try:
            async with pool.connection(timeout=max(self._retry_seconds, 1.0)) as conn:
                return await run_async(conn, call)
        except psycopg.Error as exc:
            raise calls.translated(exc) from exc

    async def _opened(self) -> AsyncConnectionPool[Any]:
        asked = time.monotonic()
        async with self._lock:
            if self._pool is None:
                assert self._endpoint is not None
                _share(self._failure, asked)
                # As in Client: a wrong DSN or schema is an error with its reason, at once.
                try:
                    await (await self._endpoint.connect_async()).close()
                except Exception as exc:
                    self._failure = time.monotonic(), exc
                    raise
                self._pool = AsyncConnectionPool(
                    self._endpoint.conninfo,
                    connection_class=AsyncBoundedConnection,
                    kwargs=self._endpoint.arguments,
                    configure=self._endpoint.prepare_async,
                    min_size=0,
                    max_size=self._pool_size,
                    open=False,
                    name="pgqueue",
                )
                await self._pool.open()
            return self._pool
