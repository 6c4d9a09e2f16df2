"""Endings that are to be reported: kept through outages, sent in batches, given up one by one."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from pgqueue import calls, handling, log
from pgqueue._pause import reach
from pgqueue.errors import DatabaseUnavailable, PgqueueError
from pgqueue.result import JobError
from pgqueue.worker.waiting import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgqueue.calls import Reported
    from pgqueue.result import JobResult
    from pgqueue.worker.link import Link

__all__ = ["Batch", "Outbox"]

BATCH_MAX = 1_000
BATCH_CHARACTERS_MAX = 8 * 1024 * 1024
# An ending that the database refuses for a passing reason is tried again alone, ever more rarely:
# each try may cost LOCK_SECONDS.
RETRY_BASE_SECONDS = 10.0
RETRY_CAP_SECONDS = 120.0

_logger = logging.getLogger("pgqueue.worker")

# Endings that are logged even where INFO is not.
LOUD = frozenset({"failed", "partial", "retrying"})

# Job, token, outcome, and what to log when the database has said how it ended.
_Entry = tuple[bytes, int, "str | None", "JobResult | None"]


@dataclass(slots=True)
class _Sick:
    entry: _Entry
    retry_at: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_BASE_SECONDS, RETRY_CAP_SECONDS))


class Batch:
    """
    Endings on their way.

    Args:
        entries: Row by row, as they came.

    Attributes:
        keys: The jobs' ids as bytes; with *tokens* and *outcomes* what pgqueue.report() takes.
        outcomes: None when all are plain successes: the cheapest report there is.
        logged: Whether there is anything to log about them.
    """

    __slots__ = ("entries", "keys", "logged", "outcomes", "tokens")

    def __init__(self, entries: list[_Entry]) -> None:
        self.entries = entries
        keys, tokens, texts, results = zip(*entries, strict=True) if entries else ((),) * 4
        self.keys: Sequence[bytes] = keys
        self.tokens: Sequence[int] = tokens
        self.outcomes: Sequence[str | None] | None = texts if any(texts) else None
        self.logged = any(results)


class Outbox:
    """
    What one worker has to report. Reports are idempotent: what may have arrived is sent again.

    Args:
        worker: For messages.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._entries: list[_Entry] = []
        self._characters = 0
        # Refused alone for a passing reason, such as a lock.
        self._sick: list[_Sick] = []
        self._on_the_way: list[_Entry] = []

    def __len__(self) -> int:
        """How many are not known to have arrived; those set aside do not count."""
        return len(self._entries) + len(self._on_the_way)

    @property
    def waiting(self) -> int:
        """How many are not on their way."""
        return len(self._entries)

    def tokens(self) -> Iterator[int]:
        """Of everything that is not reported yet."""
        yield from (entry[1] for entry in self._entries)
        yield from (entry[1] for entry in self._on_the_way)
        yield from (sick.entry[1] for sick in self._sick)

    def add(
        self, key: bytes, token: int, outcome: str | None, *, result: JobResult | None = None
    ) -> None:
        """
        Have an ending reported, and logged when the database has answered.

        Args:
            key: The job's id as bytes.
            token: Of our attempt.
            outcome: As pgqueue.report() takes it.
            result: What to log; the database's word on the status replaces its own.
        """
        self._entries.append((key, token, outcome, result))
        if outcome is not None:
            self._characters += len(outcome)

    def take(self) -> Batch:
        """Take the next batch out."""
        entries = self._entries
        if len(entries) <= BATCH_MAX and self._characters <= BATCH_CHARACTERS_MAX:
            batch = Batch(entries)
            self._entries = []
        else:
            batch = Batch(entries[: self._fitting()])
            del entries[: len(batch.entries)]
        self._on_the_way = batch.entries
        self._recount()
        return batch

    def _fitting(self) -> int:
        """How many of the first entries make a batch; at least one, whatever its size."""
        characters = 0
        for number, (_, _, outcome, _) in enumerate(self._entries[:BATCH_MAX], 1):
            characters += 0 if outcome is None else len(outcome)
            if characters >= BATCH_CHARACTERS_MAX:
                return number
        return min(BATCH_MAX, len(self._entries))

    def _recount(self) -> None:
        self._characters = sum(len(entry[2]) for entry in self._entries if entry[2] is not None)

    def put_back(self, batch: Batch) -> None:
        """Undo `take`."""
        self._on_the_way = []
        self._entries = [*batch.entries, *self._entries]
        self._recount()

    def settled(self, batch: Batch, reported: Sequence[Reported]) -> None:
        """The database has answered for *batch*: it is done."""
        self._on_the_way = []
        reach("after_report")
        if not reported and not batch.logged:
            return
        answers = {answer.token: answer for answer in reported}
        for key, token, _, result in batch.entries:
            self._log(key, token, result, answers.get(token))

    def _log(
        self, key: bytes, token: int, result: JobResult | None, answer: Reported | None
    ) -> None:
        """Log how a job ended. *result* is what the run looked like, *answer* is what counts."""
        job_id = UUID(bytes=key)
        ids: dict[str, Any] = {"token": token, "worker": self._worker}
        if answer is not None and answer.status is None:
            reason = answer.refused
            log.event(
                _logger, logging.WARNING, "report refused", job_id=job_id, reason=reason, **ids
            )
        elif result is not None:
            if answer is not None and answer.status is not None:
                result = replace(result, status=answer.status)
            result.log(_logger, **ids)
        elif answer is not None and answer.status in LOUD:
            # It had looked like a success, which is not logged here: PostgreSQL refused its result.
            log.event(_logger, logging.ERROR, f"job {answer.status}", job_id=job_id, **ids)

    async def report(self, link: Link) -> None:
        """
        Report one batch.

        Raises:
            DatabaseUnavailable: It may have arrived; it is kept.
        """
        batch = self.take()
        reach("before_report")
        try:
            reported = await link.call(calls.report(batch.keys, batch.tokens, batch.outcomes))
        except BaseException:
            self.put_back(batch)
            raise
        self.settled(batch, reported)

    async def report_singly(self, link: Link) -> None:
        """After a batch was refused as a whole: find the ending that is to blame."""
        batch = self.take()
        rows = deque(batch.entries)
        try:
            while rows:
                await self._report_one(link, _Sick(rows[0]))
                rows.popleft()
        except DatabaseUnavailable:
            return
        finally:
            self._on_the_way = []
            self._entries = [*rows, *self._entries]
            self._recount()

    @property
    def sick_seconds(self) -> float | None:
        """When `retry_sick` has something to do; None = never."""
        if not self._sick:
            return None
        return max(0.0, min(sick.retry_at for sick in self._sick) - time.monotonic())

    async def retry_sick(self, link: Link) -> None:
        """
        Report one of those set aside.

        Raises:
            DatabaseUnavailable: The connection is lost.
        """
        sick = min(self._sick, key=lambda one: one.retry_at)
        self._sick.remove(sick)
        try:
            await self._report_one(link, sick)
        except BaseException:
            self._sick.append(sick)
            raise

    async def _report_one(self, link: Link, sick: _Sick) -> None:
        key, token, outcome, result = sick.entry
        try:
            reported = await link.call(calls.report([key], [token], [outcome]))
            self._log(key, token, result, reported[0] if reported else None)
        except (PgqueueError, psycopg.Error) as exc:
            if isinstance(exc, DatabaseUnavailable) and link.connection is None:
                raise
            self._set_aside(sick, exc)

    def _set_aside(self, sick: _Sick, exc: Exception) -> None:
        key, token, outcome, result = sick.entry
        reason = str(exc).partition("\n")[0]
        log.event(
            _logger,
            logging.ERROR,
            "report failed",
            worker=self._worker,
            job_id=UUID(bytes=key),
            token=token,
            error=reason,
        )
        if not isinstance(exc, DatabaseUnavailable | psycopg.OperationalError):
            # It is about what the handler returned: the job ends as failed with that error.
            error = JobError(reason, code="report_refused")
            parts = {"do": "fail", "retryable": False, "error": error.to_dict()}
            outcome = handling.dumps(parts)
            result = None if result is None else replace(result, error=error)
        sick.entry = (key, token, outcome, result)
        sick.retry_at = time.monotonic() + sick.backoff.next()
        self._sick.append(sick)
