"""Run everything that is ready, in this process, through the queue's real functions."""

from __future__ import annotations

import datetime as dt
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from pgqueue import calls, handling
from pgqueue.calls import Call, run, run_async
from pgqueue.calls.job_status import FINISHED
from pgqueue.connection import connect_async
from pgqueue.errors import ConfigurationError, InvalidArgument
from pgqueue.result import JobError
from pgqueue.testing.enqueued import connected
from pgqueue.testing.inline import WORKER, Attempt, in_transaction, run_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from pgqueue.calls import Claimed
    from pgqueue.handling import Ending
    from pgqueue.registry import Registry
    from pgqueue.testing.inline import JobRun

__all__ = ["drain", "drain_async"]

RUNS_MAX = 1_000
# No heartbeat is sent while a handler runs: the lease outlives any test.
_LEASE = dt.timedelta(hours=1)


def drain(
    where: str | psycopg.Connection[Any],
    registry: Registry,
    *,
    queues: Sequence[str] | None = None,
    limit: int | None = None,
    until_empty: bool = True,
    advance: bool = False,
) -> list[JobRun]:
    """
    Run what is ready, one job after the other, and report it; return the runs in order.

    Args:
        where: A connection or a DSN. A connection is used as it is: inside a transaction all
            happens inside that one, and can be rolled back with it.
        registry: The handlers; jobs of other types are left alone.
        queues: By default all.
        limit: Stop after so many runs.
        until_empty: Go on with what the jobs enqueue. False runs only what is ready now.
        advance: Bring forward what waits for its time: scheduled jobs, retries, snoozes.

    Raises:
        ConfigurationError: After 1,000 runs without a limit there is still more; or a job is async
            and transactional while *where* is in a transaction; or an event loop runs already.
    """
    return run_loop(
        drain_async(
            where,
            registry,
            queues=queues,
            limit=limit,
            until_empty=until_empty,
            advance=advance,
        ),
        instead="drain_async",
    )


async def drain_async(
    where: str | psycopg.Connection[Any],
    registry: Registry,
    *,
    queues: Sequence[str] | None = None,
    limit: int | None = None,
    until_empty: bool = True,
    advance: bool = False,
) -> list[JobRun]:
    """As `drain`, for tests that are coroutines; its own calls do not let the loop run."""
    runs: list[JobRun] = []
    with connected(where) as connection, _worker(connection, registry) as worker:
        left: int | None = None if until_empty else _bring_due(connection, advance=advance)
        while (limit is None or len(runs) < limit) and (left is None or len(runs) < left):
            job = _next(connection, worker, queues, advance=advance and until_empty)
            if job is None:
                break
            if limit is None and len(runs) == RUNS_MAX:
                run(connection, calls.release(job.job_id, job.token))
                raise ConfigurationError(
                    f"{RUNS_MAX} jobs ran and there are more: does one of them enqueue itself?",
                    hint="Give drain a limit.",
                )
            runs.append(await _Claim(connection, registry, job).run())
    return runs


@contextmanager
def _worker(connection: psycopg.Connection[Any], registry: Registry) -> Iterator[int]:
    run(connection, calls.register_job_types(registry.registrations()))
    worker = run(
        connection,
        calls.register_worker(
            WORKER,
            queues=["default"],
            job_types=[definition.job_type for definition in registry],
            lease=_LEASE,
            instance=uuid4(),
        ),
    )
    try:
        yield worker
    finally:
        # An aborted transaction has undone the registration, and would hide its cause.
        if connection.info.transaction_status != TransactionStatus.INERROR:
            run(connection, calls.stop_worker(worker))


def _next(
    connection: psycopg.Connection[Any],
    worker: int,
    queues: Sequence[str] | None,
    *,
    advance: bool,
) -> Claimed | None:
    for bring in (False, True):
        if bring:
            _bring_due(connection, advance=advance)
        names = _queues(connection) if queues is None else list(queues)
        found = run(connection, calls.claim(worker, queues=names, limit=1)) if names else []
        if found:
            return found[0]
    return None


def _bring_due(connection: psycopg.Connection[Any], *, advance: bool) -> int:
    """Promote what is due, with *advance* everything; return how many jobs are ready."""
    run(connection, calls.promote())
    if advance:
        for job_id in run(connection, _ids("scheduled", "retrying")):
            run(connection, calls.reschedule(job_id))
    return len(run(connection, _ids("queued")))


def _ids(*statuses: str) -> Call[list[Any]]:
    return Call(
        "select id from pgqueue.job_status where status = any (%s) order by id",
        (list(statuses),),
        lambda rows: [row[0] for row in rows],
    )


def _queues(connection: psycopg.Connection[Any]) -> list[str]:
    call = Call(
        "select distinct queue from pgqueue.job_status where status = 'queued' order by queue",
        (),
        lambda rows: [row[0] for row in rows],
    )
    return run(connection, call)


class _OutcomeRefused(Exception):
    """Rolls the handler's transaction back: PostgreSQL does not store what it returned."""

    def __init__(self, reason: InvalidArgument) -> None:
        super().__init__(reason.message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Claim:
    """One claimed job, and the connection that reports it."""

    connection: psycopg.Connection[Any]
    registry: Registry
    job: Claimed

    async def run(self) -> JobRun:
        """Run it and report it; the status is the one that the database tells afterwards."""
        attempt = Attempt(handling.Route.of(self.registry.get(self.job.job_type)), self.job)
        self._check(attempt)
        caught: Exception | None = None
        try:
            ending = await self._handle(attempt)
        except _OutcomeRefused as exc:
            ending, caught = handling.refused(exc.reason, self.job), exc.reason
        except Exception as exc:  # whatever a handler raises is the outcome
            ending, caught = attempt.failure(exc), exc
        if ending.send:
            job = self.job
            run(self.connection, calls.report([job.job_id], [job.token], [ending.outcome]))
        return self._as_stored(attempt.run(ending, caught))

    def _check(self, attempt: Attempt) -> None:
        definition = attempt.route.definition
        in_block = self.connection.info.transaction_status != TransactionStatus.IDLE
        if definition.transactional and definition.is_async and in_block:
            raise ConfigurationError(
                f"job type {definition.job_type} is async and transactional: its connection cannot"
                " see the transaction that this drain runs in",
                hint="Give drain a DSN, or a connection in autocommit mode outside a transaction.",
            )

    async def _handle(self, attempt: Attempt) -> Ending:
        if not attempt.route.transactional:
            return await attempt.handle()
        async with self._own_transaction(attempt) as connection:
            ending = await attempt.handle(connection)
            done = handling.completion(self.job, ending)
            try:
                if isinstance(connection, psycopg.AsyncConnection):
                    await run_async(connection, done)
                else:
                    run(connection, done)
            except InvalidArgument as exc:
                raise _OutcomeRefused(exc) from exc
        return replace(ending, send=False)

    @asynccontextmanager
    async def _own_transaction(self, attempt: Attempt) -> AsyncIterator[Any]:
        if attempt.route.kind != "task":
            async with in_transaction(self.connection):
                yield self.connection
            return
        info = self.connection.info
        # get_parameters() leaves the password out.
        dsn = make_conninfo(**info.get_parameters(), password=info.password or None)
        async with (
            await connect_async(dsn, application_name="pgqueue testing") as connection,
            connection.transaction(),
        ):
            yield connection

    def _as_stored(self, done: JobRun) -> JobRun:
        stored = run(self.connection, calls.status(self.job.job_id))
        if stored.status not in FINISHED or stored.status == done.status:
            return done
        # PostgreSQL refused something in the outcome, and failed the job for it.
        error = JobError.from_dict(stored.errors[-1]) if stored.errors else None
        result = replace(done.job_result, status=stored.status, error=error)
        return replace(done, job_result=result, created=(), follow_ups=())
