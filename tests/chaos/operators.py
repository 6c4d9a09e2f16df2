"""Operators, who move jobs about, and a client that keeps its transactions open."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from tests.chaos.client import PAUSE_SECONDS

if TYPE_CHECKING:
    from pgqueue.connection import BoundedConnection
    from tests.chaos.client import Client


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
            sql = client.draw.choices([c[0] for c in calls], [c[1] for c in calls])[0]
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
