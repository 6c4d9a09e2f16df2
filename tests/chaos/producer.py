"""
A producer or an operator in a process of its own: `python -m tests.chaos.producer SPEC`.

    {"kind": "mixed", "seed": "7 p1", "jobs": 2000, "rate": 50}     single, bulk, rolled back, keyed
    {"kind": "wake", "seed": ..., "jobs": 20, "queue": "wake", "pause": 2.4}     commits late
    {"kind": "operator", "seed": ..., "seconds": 60}                cancels, retries, moves
    {"kind": "patient", "seed": ..., "seconds": 60}                 heartbeats in long transactions
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from pgqueue.connection import BoundedConnection
from tests.chaos import witness
from tests.chaos.arena import QUEUES

if TYPE_CHECKING:
    from collections.abc import Callable

CALL_SECONDS = 8.0
_numbers = itertools.count(1)
PAUSE_SECONDS = 0.2
TYPES = (
    ("quick", 45),
    ("threaded", 18),
    ("written", 18),
    ("written_threaded", 10),
    ("written_childish", 5),
    ("childish", 4),
)
ENDS = (
    (None, 78),
    ("retry", 6),
    ("raise", 4),
    ("snooze", 3),
    ("follow", 5),
    ("fail", 3),
    ("cancel", 1),
)
KEYS = 25
INSERT = (
    "insert into pgqueue.jobs (id, job_type, queue, priority, payload, run_at)"
    " values (%s, %s, %s, %s, %s::jsonb, clock_timestamp() + make_interval(secs => %s))"
)
ENQUEUE = (
    "select pgqueue.enqueue(%s, %s::jsonb, %s, %s, p_delay => make_interval(secs => %s),"
    " p_unique_key => %s, p_on_duplicate => %s, p_id => %s)"
)


class Client:
    """One connection that comes back, and what was tried over it."""

    def __init__(self, spec: dict[str, Any], variable: str = "PGQUEUE_DSN") -> None:
        self.spec = spec
        self.draw = random.Random(spec["seed"])  # noqa: S311
        self.slow = bool(spec.get("slow"))
        self.done = 0
        self._dsn = os.environ[variable]
        self._conn: BoundedConnection | None = None

    @property
    def conn(self) -> BoundedConnection:
        """The connection; opened when it is needed."""
        if self._conn is None or self._conn.closed or self._conn.broken:
            self.drop()
            self._conn = BoundedConnection.connect(self._dsn, autocommit=True)
            self._conn.call_seconds = CALL_SECONDS
        return self._conn

    def drop(self) -> None:
        """Give the connection up."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def attempt(
        self, f: str, act: Callable[[BoundedConnection], dict[str, Any] | None], **what: Any
    ) -> bool:
        """
        Do something in a transaction and record how it went; whether it was acknowledged.

        Args:
            f: What, in the history.
            act: Given the connection; its answer goes into the ok event. Raises _Undo to roll back.
            what: Ids, for the invoke event.
        """
        n = next(_numbers)
        try:
            conn = self.conn
        except (psycopg.Error, OSError):
            time.sleep(PAUSE_SECONDS)
            return False
        warned: list[str] = []
        hear = _warnings(warned)
        conn.add_notice_handler(hear)
        committing = False
        witness.record(f, "invoke", n=n, **what)
        try:
            conn.execute("begin")
            answer = act(conn) or {}
            row = conn.execute("select pg_current_xact_id()::text").fetchone()
            assert row is not None
            witness.record(f, "commit", n=n, xid=row[0])
            committing = True
            conn.execute("commit")
        except _Undo:
            conn.execute("rollback")
            witness.record(f, "fail", n=n, error="rolled back")
            return True
        except psycopg.Error as exc:
            broken = conn.closed or conn.broken
            unsure = committing and broken
            witness.record(f, "info" if unsure else "fail", n=n, error=str(exc).strip())
            if broken:
                self.drop()
            else:
                conn.execute("rollback")
            return False
        finally:
            conn.remove_notice_handler(hear)
        # Synchronous replication was given up while it waited: durable here, perhaps nowhere else.
        witness.record(f, "info" if warned else "ok", n=n, warned=warned, **answer)
        return True


class _Undo(Exception):
    """Roll back what was done, on purpose."""


def _warnings(heard: list[str]) -> Callable[[psycopg.errors.Diagnostic], None]:
    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.sqlstate == "01000":
            heard.append(diagnostic.message_primary or "")

    return hear


def _pick(draw: random.Random, weighted: tuple[tuple[Any, int], ...]) -> Any:
    return draw.choices([w[0] for w in weighted], [w[1] for w in weighted])[0]


def _job(draw: random.Random, *, slow: bool = False) -> tuple[Any, ...]:
    most = 1.5 if slow and draw.random() < 0.3 else 0.02
    payload: dict[str, Any] = {"seconds": draw.uniform(0, most)}
    end = _pick(draw, ENDS)
    if end is not None:
        payload["end"] = end
    if end == "snooze":
        payload["until"] = time.time() + draw.uniform(0.1, 1.0)
    if end == "retry":
        payload["delay"] = draw.uniform(0, 0.3)
    if draw.random() < 0.02:
        payload["big"] = 20_000
    delay = draw.uniform(0.1, 2.0) if draw.random() < 0.1 else None
    return (
        str(uuid4()),
        _pick(draw, TYPES),
        draw.choice(QUEUES),
        draw.choice((0, 1, 1, 1, 2, 3)),
        json.dumps(payload),
        delay,
    )


def mixed(client: Client) -> None:
    """Enqueue until all jobs were attempted."""
    began = time.monotonic()
    total, rate = client.spec["jobs"], client.spec.get("rate")
    while client.done < total:
        if rate:
            ahead = client.done / rate - (time.monotonic() - began)
            time.sleep(max(0.0, min(ahead, 1.0)))
        kind = client.draw.random()
        if kind < 0.05:
            _keyed(client)
        elif kind < 0.10:
            _rolled_back(client)
        elif kind < 0.16:
            _bulk(client, min(client.draw.randrange(5, 40), total - client.done))
        else:
            _single(client)


def _single(client: Client) -> None:
    row = _job(client.draw, slow=client.slow)

    def act(conn: BoundedConnection) -> None:
        conn.execute(INSERT, row)

    if client.attempt("enqueue", act, jobs=[row[0]], job_type=row[1]):
        client.done += 1


def _bulk(client: Client, n: int) -> None:
    rows = [_job(client.draw, slow=client.slow) for _ in range(max(n, 1))]

    def act(conn: BoundedConnection) -> None:
        with conn.cursor() as cursor:
            cursor.executemany(INSERT, rows)

    if client.attempt("enqueue", act, jobs=[row[0] for row in rows]):
        client.done += len(rows)


def _rolled_back(client: Client) -> None:
    row = _job(client.draw, slow=client.slow)

    def act(conn: BoundedConnection) -> None:
        conn.execute(INSERT, row)
        raise _Undo

    client.attempt("enqueue", act, jobs=[row[0]])


def _keyed(client: Client) -> None:
    job_id, job_type, queue, priority, payload, delay = _job(client.draw, slow=client.slow)
    key = f"key {client.draw.randrange(KEYS)}"
    mode = client.draw.choice(("ignore", "replace", "debounce", "merge"))

    def act(conn: BoundedConnection) -> dict[str, Any]:
        given = (job_type, payload, queue, priority, delay, key, mode, job_id)
        row = conn.execute(ENQUEUE, given).fetchone()
        assert row is not None
        return {"served_by": str(row[0])}

    if client.attempt("enqueue", act, jobs=[job_id], key=key, mode=mode):
        client.done += 1


def wake(client: Client) -> None:
    """
    One job that comes by surprise, then one whose transaction stays open while others overtake it.

    The worker is awake because of the first when the second is inserted, and lies down before it
    commits: who does not hold the door shut until then sleeps through it.
    """
    queue = client.spec["queue"]
    passing = Client({**client.spec, "seed": f"{client.spec['seed']} passing"})
    for _ in range(client.spec["jobs"]):
        # Longer than a wake-up may take: the next round would wake whoever was forgotten.
        time.sleep(client.spec["pause"])
        _woken(client, queue)
        time.sleep(client.draw.uniform(0.0, 0.01))
        _woken(client, queue, meanwhile=partial(_overtake, passing, queue))


def _woken(client: Client, queue: str, meanwhile: Callable[[], None] = lambda: None) -> None:
    job_id = str(uuid4())

    def act(conn: BoundedConnection) -> dict[str, Any]:
        conn.execute(INSERT, (job_id, "wake", queue, 1, "{}", None))
        meanwhile()
        return {"wake": True}

    client.attempt("enqueue", act, jobs=[job_id])


def _overtake(passing: Client, queue: str) -> None:
    time.sleep(passing.draw.uniform(0.05, 0.15))
    _woken(passing, queue)
    time.sleep(passing.draw.uniform(0.05, 0.2))


def operator(client: Client) -> None:
    """Cancel, retry, move and redrive jobs for a while."""
    calls: tuple[tuple[str, int], ...] = (
        ("select pgqueue.cancel(%s)", 5),
        ("select pgqueue.retry(%s)", 3),
        ("select pgqueue.reschedule(%s, null)", 2),
        ("select pgqueue.reprioritise(%s, 0)", 2),
    )
    until = time.monotonic() + client.spec["seconds"]
    while time.monotonic() < until:
        time.sleep(client.draw.uniform(0.02, 0.2))
        if client.draw.random() < 0.1:
            client.attempt("redrive", _redrive)
            continue
        job_id = _recent(client)
        if job_id is not None:
            sql = _pick(client.draw, calls)
            act = partial(_operate, sql=sql, job_id=job_id)
            client.attempt("operate", act, job=job_id, sql=sql)


def _operate(conn: BoundedConnection, *, sql: Any, job_id: str) -> None:
    conn.execute(sql, (job_id,))


def _redrive(conn: BoundedConnection) -> dict[str, Any]:
    row = conn.execute("select pgqueue.redrive(p_limit => 5)").fetchone()
    assert row is not None
    return {"jobs": row[0]}


def _recent(client: Client) -> str | None:
    try:
        rows = client.conn.execute(
            "select id::text from pgqueue.job_status order by created_at desc limit 50"
        ).fetchall()
    except (psycopg.Error, OSError):
        client.drop()
        time.sleep(PAUSE_SECONDS)
        return None
    return str(client.draw.choice(rows)[0]) if rows else None


def patient(client: Client) -> None:
    """Heartbeat as a worker of its own, late in a long transaction: the lease must be whole."""
    until = time.monotonic() + client.spec["seconds"]
    lease = 1.0
    while time.monotonic() < until:
        client.attempt(
            "patient", lambda conn: _patience(conn, lease, client.draw.uniform(0.1, 0.4))
        )


def _patience(conn: BoundedConnection, lease: float, seconds: float) -> dict[str, Any]:
    sql = "select pgqueue.register_worker('patient', '{nowhere}', null, make_interval(secs => %s))"
    row = conn.execute(sql, (lease,)).fetchone()
    assert row is not None
    time.sleep(seconds)
    now = conn.execute("select extract(epoch from clock_timestamp())::float8").fetchone()
    beat = conn.execute(
        "select extract(epoch from h.lease_until)::float8 from pgqueue.heartbeat(%s) h", row
    ).fetchone()
    conn.execute("select pgqueue.stop_worker(%s)", row)
    assert now is not None
    assert beat is not None
    return {"asked_at": now[0], "lease": lease, "until": beat[0]}


KINDS = {"mixed": mixed, "wake": wake, "operator": operator, "patient": patient}


def main() -> None:
    """Do what the spec says."""
    spec = json.loads(sys.argv[1])
    variable = {"operator": "CHAOS_OPERATOR_DSN", "patient": "CHAOS_WORKER_DSN"}.get(
        spec["kind"], "PGQUEUE_DSN"
    )
    KINDS[spec["kind"]](Client(spec, variable))


if __name__ == "__main__":
    main()
