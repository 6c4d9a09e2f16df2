"""
Where an import stands: rows and checkpoint commit together, by the attempt that owns the job.

    begin ──► store ──► store ──► ... ──► store(done) ──► totals
              each a transaction: COPY into a staging table, one upsert, the checkpoint moves

Killed anywhere, the next attempt goes on behind the last chunk that was committed. An attempt that
has been overtaken is refused (PQ001, LeaseLost): it writes nothing more.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgqueue import Fail
from pgqueue.calls import Call, run
from pgqueue.calls.core import nothing
from pgqueue.connection import connect

from .rows import Problem
from .settings import tenant_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from uuid import UUID

    import psycopg

    from pgqueue import JobContext

    from .kinds import Kind
    from .rows import Row

__all__ = ["PROBLEMS_KEPT", "Checkpoint", "ImportReport", "Place", "opened"]

# Of so many refused rows a job tells each; of the others how many there are.
PROBLEMS_KEPT = 100

_STAGING = Call("select warehouse.open_staging()", (), nothing)
# Of imports that nobody has touched for a month: their jobs have been removed as well.
_FORGET = Call("select warehouse.forget_imports()", (), nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did, over all its attempts; stored as the job's result."""

    rows: int
    created: int
    updated: int
    skipped: int
    refused: int


@dataclass(frozen=True, slots=True)
class Place:
    """
    How far an import is.

    Attributes:
        reached: Everything before this byte of the file, or before this page, is stored.
        line: Lines, or items, before it.
        done: All is stored.
    """

    reached: int
    line: int
    done: bool


@dataclass(slots=True)
class Checkpoint:
    """One attempt's hold on an import."""

    _connection: psycopg.Connection[Any]
    _job_id: UUID
    _token: int
    place: Place

    def store(
        self, kind: Kind, rows: Iterable[Row | Problem], place: Callable[[int], Place]
    ) -> None:
        """
        Store one chunk and move on.

        Args:
            kind: What the rows are.
            rows: Read while COPY runs; the problems among them are noted.
            place: Says, given how many rows there were, where the import is then.

        Raises:
            LeaseLost: Another attempt has the import.
        """
        count, refused, problems = 0, 0, list[Problem]()
        with self._connection.transaction():
            run(self._connection, _STAGING)
            with self._connection.cursor().copy(kind.copy) as copy:
                for row in rows:
                    count += 1
                    if not isinstance(row, Problem):
                        copy.write_row(row)
                        continue
                    refused += 1
                    if refused <= PROBLEMS_KEPT:
                        problems.append(row)
            there = place(count)
            noted = json.dumps([problem.to_dict() for problem in problems])
            values = (
                self._job_id,
                self._token,
                self.place.reached,
                there.reached,
                there.line,
                refused,
                noted,
                there.done,
            )
            run(self._connection, Call(kind.store, values, nothing))
        self.place = there

    def report(self, ctx: JobContext) -> ImportReport:
        """
        Tell the context what the import came to.

        Raises:
            Fail: Every single row was refused.
        """
        (totals,) = run(
            self._connection,
            Call("select * from warehouse.import_totals(%s)", (self._job_id,), list),
        )
        rows, created, updated, skipped, refused, problems = totals
        run(self._connection, _FORGET)
        ctx.metrics.processed(rows)
        ctx.metrics.created(created)
        ctx.metrics.updated(updated)
        ctx.metrics.skipped(skipped)
        if refused:
            ctx.metrics.add("items_refused", refused)
        for problem in problems:
            item = {"row": problem["row"], "field": problem["field"]}
            ctx.error(problem["message"], code=problem["code"], item=item)
        if refused > len(problems):
            more = f"{refused - len(problems)} more rows were refused"
            ctx.error(more, code="errors_truncated", item={"refused": refused})
        if rows and rows == refused:
            raise Fail(f"not one of {rows} rows could be taken", code="all_rows_refused")
        return ImportReport(
            rows=rows, created=created, updated=updated, skipped=skipped, refused=refused
        )


@contextmanager
def opened(ctx: JobContext, kind: str, *, source: str, fingerprint: str) -> Iterator[Checkpoint]:
    """
    Connect, and find out where to go on.

    Args:
        ctx: The run; its tenant is whose rows these are.
        kind: As in warehouse.import_progress.
        source: For people.
        fingerprint: The same for as long as the source is.

    Raises:
        Fail: The job has no tenant, or the source has changed since the first attempt.
        LeaseLost: A later attempt has the import.
    """
    tenant = tenant_of(ctx)
    with connect(application_name=f"warehouse {ctx.job_type}", checked=False) as connection:
        values = (ctx.id, ctx.token, tenant, kind, source, fingerprint)
        call = Call("select * from warehouse.begin_import(%s, %s, %s, %s, %s, %s)", values, list)
        ((reached, line, done, changed),) = run(connection, call)
        if changed:
            raise Fail(
                "the source has changed since the first attempt, which stored a part of it",
                code="source_changed",
                item=source,
            )
        yield Checkpoint(connection, ctx.id, ctx.token, Place(reached, line, done))
