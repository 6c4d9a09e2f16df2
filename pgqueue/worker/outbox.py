"""Endings that are to be reported: kept through outages, sent in batches, given up one by one."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psycopg

from pgqueue import calls, handling, log
from pgqueue._pause import reach
from pgqueue.errors import DatabaseUnavailable, PgqueueError
from pgqueue.result import JobError
from pgqueue.worker.waiting import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

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
_Entry = tuple["UUID", int, "str | None", "JobResult | None"]


@dataclass(slots=True)
class _Sick:
    entry: _Entry
    retry_at: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_BASE_SECONDS, RETRY_CAP_SECONDS))


@dataclass(slots=True)
class Batch:
    """Endings on their way: three columns, as pgqueue.report() takes them, and one to log."""

    job_ids: list[UUID] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    results: list[JobResult | None] = field(default_factory=list)

    @property
    def outcomes(self) -> list[str | None] | None:
        """None when all are plain successes: the cheapest report there is."""
        return self.texts if any(self.texts) else None

    def entries(self) -> list[_Entry]:
        """Give it row by row."""
        return list(zip(self.job_ids, self.tokens, self.texts, self.results, strict=True))


class Outbox:
    """
    What one worker has to report. Reports are idempotent: what may have arrived is sent again.

    Args:
        worker: For messages.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._entries: deque[_Entry] = deque()
        # Refused alone for a passing reason, such as a lock.
        self._sick: list[_Sick] = []
        self._on_the_way = 0

    def __len__(self) -> int:
        """How many are not known to have arrived; those set aside do not count."""
        return len(self._entries) + self._on_the_way

    def tokens(self) -> Iterator[int]:
        """Of everything that is not reported yet."""
        yield from (entry[1] for entry in self._entries)
        yield from (sick.entry[1] for sick in self._sick)

    def add(
        self, job_id: UUID, token: int, outcome: str | None, *, result: JobResult | None = None
    ) -> None:
        """
        Have an ending reported, and logged when the database has answered.

        Args:
            job_id: The job.
            token: Of our attempt.
            outcome: As pgqueue.report() takes it.
            result: What to log; the database's word on the status replaces its own.
        """
        self._entries.append((job_id, token, outcome, result))

    def take(self) -> Batch:
        """Take the next batch out."""
        batch = Batch()
        characters = 0
        entries = self._entries
        while entries and len(batch.tokens) < BATCH_MAX and characters < BATCH_CHARACTERS_MAX:
            job_id, token, outcome, result = entries.popleft()
            batch.job_ids.append(job_id)
            batch.tokens.append(token)
            batch.texts.append(outcome)
            batch.results.append(result)
            characters += len(outcome) if outcome is not None else 0
        self._on_the_way = len(batch.tokens)
        return batch

    def put_back(self, batch: Batch) -> None:
        """Undo `take`."""
        self._on_the_way = 0
        self._entries.extendleft(reversed(batch.entries()))

    def settled(self, batch: Batch, reported: Sequence[Reported]) -> None:
        """The database has answered for *batch*: it is done."""
        self._on_the_way = 0
        reach("after_report")
        if not reported and not any(batch.results):
            return
        answers = {answer.token: answer for answer in reported}
        for job_id, token, _, result in batch.entries():
            self._log(job_id, token, result, answers.get(token))

    def _log(
        self, job_id: UUID, token: int, result: JobResult | None, answer: Reported | None
    ) -> None:
        """Log how a job ended. *result* is what the run looked like, *answer* is what counts."""
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
            reported = await link.call(calls.report(batch.job_ids, batch.tokens, batch.outcomes))
        except BaseException:
            self.put_back(batch)
            raise
        self.settled(batch, reported)

    async def report_singly(self, link: Link) -> None:
        """After a batch was refused as a whole: find the ending that is to blame."""
        batch = self.take()
        rows = deque(batch.entries())
        try:
            while rows:
                await self._report_one(link, _Sick(rows[0]))
                rows.popleft()
        except DatabaseUnavailable:
            return
        finally:
            self._on_the_way = 0
            self._entries.extendleft(reversed(rows))

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
        job_id, token, outcome, result = sick.entry
        try:
            reported = await link.call(calls.report([job_id], [token], [outcome]))
            self._log(job_id, token, result, reported[0] if reported else None)
        except (PgqueueError, psycopg.Error) as exc:
            if isinstance(exc, DatabaseUnavailable) and link.connection is None:
                raise
            self._set_aside(sick, exc)

    def _set_aside(self, sick: _Sick, exc: Exception) -> None:
        job_id, token, outcome, result = sick.entry
        reason = str(exc).partition("\n")[0]
        log.event(
            _logger,
            logging.ERROR,
            "report failed",
            worker=self._worker,
            job_id=job_id,
            token=token,
            error=reason,
        )
        if not isinstance(exc, DatabaseUnavailable | psycopg.OperationalError):
            # It is about what the handler returned: the job ends as failed with that error.
            error = JobError(reason, code="report_refused")
            parts = {"do": "fail", "retryable": False, "error": error.to_dict()}
            outcome = handling.dumps(parts)
            result = None if result is None else replace(result, error=error)
        sick.entry = (job_id, token, outcome, result)
        sick.retry_at = time.monotonic() + sick.backoff.next()
        self._sick.append(sick)
