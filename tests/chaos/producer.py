"""
A producer or an operator in a process of its own: `python -m tests.chaos.producer SPEC`.

    {"kind": "mixed", "seed": "7 p1", "jobs": 2000, "rate": 50}     single, bulk, rolled back, keyed
    {"kind": "wake", "seed": ..., "jobs": 20, "queue": "wake", "pause": 2.4}     commits late
    {"kind": "operator", "seed": ..., "seconds": 60}                cancels, retries, moves
    {"kind": "patient", "seed": ..., "seconds": 60}                 heartbeats in long transactions
    {"kind": "works", "seed": ..., "jobs": 300, "rate": 8}          or limits, steward: flow_load
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.chaos import flow_load, operators
from tests.chaos.arena import QUEUES
from tests.chaos.client import Client, Undo

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from pgqueue.connection import BoundedConnection

STREAM_JOBS = 6
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
# What PostgreSQL stores and somebody has stumbled over. Python refuses the long integer and the
# deep list: such a job fails alone, and its batch-mates run.
ZOO = (
    "9007199254740993",
    "0.12345678901234567890",
    "1e308",
    "1" * 4301,
    "[" * 1000 + "]" * 1000,
    '{"a": 1, "a": 2}',
    '{"__proto__": null, "": ""}',
    '"\\u202e\\u200b\\ud83d\\ude00"',
    '"\'; drop schema pgqueue cascade; -- %s %(x)s {} $$"',
    '"' + "x" * 100_000 + '"',
)
INSERT = (
    "insert into pgqueue.jobs (id, job_type, queue, priority, payload, run_at)"
    " values (%s, %s, %s, %s, %s::jsonb, clock_timestamp() + make_interval(secs => %s))"
)
ENQUEUE = (
    "select pgqueue.enqueue(%s, %s::jsonb, %s, %s, p_delay => make_interval(secs => %s),"
    " p_unique_key => %s, p_on_duplicate => %s, p_id => %s)"
)


def _pick(draw: random.Random, weighted: tuple[tuple[Any, int], ...]) -> Any:
    return draw.choices([w[0] for w in weighted], [w[1] for w in weighted])[0]


def _job(draw: random.Random, *, slow: bool = False) -> tuple[Any, ...]:
    most = 1.5 if slow and draw.random() < 0.5 else 0.02
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
    text = json.dumps(payload)
    if draw.random() < 0.03:
        text = f'{text[:-1]}, "zoo": {draw.choice(ZOO)}}}'
    delay = draw.uniform(0.1, 2.0) if draw.random() < 0.1 else None
    return (
        str(uuid4()),
        _pick(draw, TYPES),
        draw.choice(QUEUES),
        draw.choice((0, 1, 1, 1, 2, 3)),
        text,
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
        raise Undo

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
    A few jobs that come densely, and one whose transaction stays open while others overtake it.

    The worker has left its door because of the first when that one is inserted, and lies down
    before it commits: who does not hold the door shut until then sleeps through it.
    """
    queue = client.spec["queue"]
    passing = Client({**client.spec, "seed": f"{client.spec['seed']} passing"})
    for _ in range(client.spec["jobs"]):
        # Longer than a wake-up may take: the next round would wake whoever was forgotten.
        time.sleep(client.spec["pause"])
        for _ in range(STREAM_JOBS):
            _woken(client, queue)
        _woken(client, queue, meanwhile=partial(_overtake, passing, queue))


def _woken(client: Client, queue: str, meanwhile: Callable[[], None] = lambda: None) -> None:
    job_id = str(uuid4())

    def act(conn: BoundedConnection) -> dict[str, Any]:
        conn.execute(INSERT, (job_id, "wake", queue, 1, "{}", None))
        meanwhile()
        return {"wake": True}

    client.attempt("enqueue", act, jobs=[job_id])


def _overtake(passing: Client, queue: str) -> None:
    for _ in range(STREAM_JOBS):
        _woken(passing, queue)
    time.sleep(passing.draw.uniform(0.15, 0.35))


KINDS = {
    "mixed": mixed,
    "wake": wake,
    "operator": operators.operator,
    "patient": operators.patient,
    **flow_load.KINDS,
}

VARIABLES = {
    "operator": "CHAOS_OPERATOR_DSN",
    "steward": "CHAOS_OPERATOR_DSN",
    "patient": "CHAOS_WORKER_DSN",
}


def main() -> None:
    """Do what the spec says."""
    spec = json.loads(sys.argv[1])
    variable = VARIABLES.get(spec["kind"], "PGQUEUE_DSN")
    KINDS[spec["kind"]](Client(spec, variable))


if __name__ == "__main__":
    main()
