"""Jobs through plain SQL: what a person in psql would type, as one-line calls."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    Db = psycopg.Connection[Any]

PLACES = ("ready", "scheduled", "blocked", "running", "finished")
STATUSES = (
    "scheduled",
    "queued",
    "blocked",
    "running",
    "retrying",
    "succeeded",
    "partial",
    "failed",
    "cancelled",
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """One row of pgqueue.claim()."""

    job_id: UUID
    token: int
    job_type: str
    queue: str
    priority: int
    pos: int
    attempt: int
    max_attempts: int
    run_seconds_max: float | None
    payload: str
    headers: str | None
    tenant_id: str | None
    created_at: object
    ready_at: object

    @property
    def owned(self) -> tuple[UUID, int]:
        """The two values by which a worker names its attempt."""
        return (self.job_id, self.token)


def row(db: Db, query: str, *values: Any) -> tuple[Any, ...]:
    """
    The one row that *query* must yield.

    Args:
        db: Where.
        query: With %s placeholders.
        values: For them.
    """
    found = db.execute(query, values).fetchall()
    assert len(found) == 1, f"{len(found)} rows: {query}"
    return tuple(found[0])


def value(db: Db, query: str, *values: Any) -> Any:
    """The one value of the one row, as `row`."""
    (found,) = row(db, query, *values)
    return found


def column(db: Db, query: str, *values: Any) -> list[Any]:
    """The first column of all rows."""
    return [found[0] for found in db.execute(query, values).fetchall()]


def insert(db: Db, job_type: str = "t", **columns: Any) -> UUID:
    """Insert one job by a plain INSERT; dicts and lists become jsonb, tuples arrays."""
    given = {"job_type": job_type, **columns}
    stored = [
        json.dumps(v) if isinstance(v, dict | list) else list(v) if isinstance(v, tuple) else v
        for v in given.values()
    ]
    statement = sql.SQL("insert into pgqueue.jobs ({}) values ({}) returning id").format(
        sql.SQL(", ").join(map(sql.Identifier, given)),
        sql.SQL(", ").join([sql.Placeholder()] * len(given)),
    )
    found: UUID = db.execute(statement, stored).fetchall()[0][0]
    return found


def insert_many(db: Db, count: int, job_type: str = "t", queue: str | None = None) -> None:
    """Insert *count* jobs with one statement."""
    db.execute(
        "insert into pgqueue.jobs (job_type, queue) select %s, %s from generate_series(1, %s)",
        (job_type, queue, count),
    )


def worker(
    db: Db,
    queues: Sequence[str] = ("default",),
    *,
    job_types: Sequence[str] | None = None,
    lease: str = "1 minute",
    name: str = "w",
) -> int:
    """Register a worker."""
    return int(
        value(
            db,
            "select pgqueue.register_worker(%s, %s, %s, %s)",
            name,
            list(queues),
            None if job_types is None else list(job_types),
            lease,
        )
    )


def claim(
    db: Db,
    worker_id: int,
    limit: int | None = 100,
    *,
    queues: Sequence[str] = ("default",),
    floors: Sequence[int | None] | None = None,
) -> list[Claimed]:
    """Claim jobs, in the order in which the server hands them out."""
    found = db.execute(
        "select * from pgqueue.claim(%s, %s, %s, %s)",
        (worker_id, list(queues), limit, None if floors is None else list(floors)),
    )
    return [Claimed(*one) for one in found.fetchall()]


def claim_one(db: Db, worker_id: int | None = None) -> Claimed:
    """Claim the next job of the default queue, by a new worker if none is given."""
    (found,) = claim(db, worker(db) if worker_id is None else worker_id, 1)
    return found


def run_one(db: Db, job_type: str = "t", **columns: Any) -> Claimed:
    """Insert a job and claim that one."""
    job_id = insert(db, job_type, **columns)
    return claim_this(db, job_id)


def claim_this(db: Db, job_id: UUID, worker_id: int | None = None) -> Claimed:
    """Claim this job by its id."""
    by = worker(db) if worker_id is None else worker_id
    return Claimed(*row(db, "select * from pgqueue.claim_job(%s, %s)", by, job_id))


def report(
    db: Db, jobs: Sequence[Claimed], outcomes: Sequence[object | None] | None = None
) -> dict[UUID, str]:
    """Report a batch; str outcomes go as they are, others as JSON. Returns what was refused."""
    texts = (
        None
        if outcomes is None
        else [o if o is None or isinstance(o, str) else json.dumps(o) for o in outcomes]
    )
    found = db.execute(
        "select job_id, refused from pgqueue.report(%s, %s, %s) where refused is not null",
        ([job.job_id for job in jobs], [job.token for job in jobs], texts),
    )
    return dict(found.fetchall())


def place(db: Db, job_id: UUID) -> str:
    """The table that holds the job's state: the fact from which its status is derived."""
    union = " union all ".join(
        f"select '{table}' from pgqueue.{table} where job_id = %(id)s" for table in PLACES
    )
    found = [one[0] for one in db.execute(union, {"id": job_id}).fetchall()]
    return "+".join(found) or "nowhere"


def status(db: Db, job_id: UUID) -> str:
    """The job's status, derived from the tables alone (the view has tests of its own)."""
    match place(db, job_id):
        case "ready":
            return "queued"
        case "scheduled":
            reason = value(db, "select reason from pgqueue.scheduled where job_id = %s", job_id)
            return "retrying" if reason == "retry" else "scheduled"
        case "finished":
            return str(value(db, "select status from pgqueue.finished where job_id = %s", job_id))
        case other:
            return other


def job_in(db: Db, wanted: str) -> Claimed:
    """
    A new job in the status *wanted*, with the token of its last attempt (0 if it never ran).

    Args:
        db: Where; nothing else may be claiming there.
        wanted: One of `STATUSES`.
    """
    never_ran = {"scheduled": {"run_at": "2100-01-01"}, "queued": {}}
    if wanted in never_ran:
        return _unclaimed(insert(db, **never_ran[wanted]))
    if wanted == "blocked":
        return _unclaimed(_follow_up(db))
    job = run_one(db)
    match wanted:
        case "running":
            pass
        case "retrying":
            db.execute("select pgqueue.fail(%s, %s, p_retry_after => '1 day')", job.owned)
        case "succeeded":
            db.execute("select pgqueue.complete(%s, %s)", job.owned)
        case "partial":
            db.execute(
                """select pgqueue.complete(%s, %s, p_errors => '[{"code": "c"}]')""", job.owned
            )
        case "failed":
            db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
        case "cancelled":
            db.execute("select pgqueue.cancel_running(%s, %s)", job.owned)
        case _:
            raise AssertionError(wanted)
    return job


def _unclaimed(job_id: UUID) -> Claimed:
    return Claimed(job_id, 0, "t", "default", 1, 0, 0, 5, None, "{}", None, None, None, None)


def _follow_up(db: Db) -> UUID:
    """A job that is blocked behind a running holder of its unique key."""
    key = f"key {value(db, 'select gen_random_uuid()')}"
    run_one(db, unique_key=key)
    found: UUID = value(
        db, "select pgqueue.enqueue('t', p_unique_key => %s, p_on_duplicate => 'replace')", key
    )
    return found


def worker_dies(db: Db, worker_id: int) -> None:
    """Let a worker's lease end, as if it had not been heard of for a day."""
    db.execute(
        "update pgqueue.workers set heartbeat_at = heartbeat_at - interval '1 day' where id = %s",
        (worker_id,),
    )


@contextmanager
def refused(sqlstate: str, *, constraint: str | None = None) -> Iterator[None]:
    """
    The block must fail with this SQLSTATE, and this constraint's name if given.

    Args:
        sqlstate: Five characters.
        constraint: What a .NET caller would find in ConstraintName.
    """
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert (sqlstate, constraint) == (
        caught.value.sqlstate,
        caught.value.diag.constraint_name if constraint else None,
    ), str(caught.value)


def sqlstate_of(db: Db, query: str, *values: Any) -> str | None:
    """Execute; the SQLSTATE of the failure, None for success."""
    by_name = values[0] if len(values) == 1 and isinstance(values[0], dict) else None
    try:
        db.execute(query, by_name if by_name is not None else values)
    except psycopg.Error as error:
        return error.sqlstate
    return None
