"""What the producers `works`, `limits` and `steward` do; the rest of the load is in `producer`."""

from __future__ import annotations

import json
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from tests.chaos import flow
from tests.chaos.client import PAUSE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgqueue.connection import BoundedConnection
    from tests.chaos.client import Client

    Row = dict[str, Any]

TRIES = 100
INSERT = """
insert into pgqueue.jobs (id, job_type, queue, payload, concurrency_key, ordering_key,
    ordering_on_failure, headers, tenant_id, batch_id, run_at)
select r.id, r.job_type, r.queue, r.payload, r.concurrency_key, r.ordering_key,
    r.ordering_on_failure, r.headers, r.tenant_id, r.batch_id,
    clock_timestamp() + r.delay * interval '1 second'
from jsonb_to_recordset(%s::jsonb) as r (id uuid, job_type text, queue text, payload jsonb,
    concurrency_key text, ordering_key text, ordering_on_failure text, headers jsonb,
    tenant_id text, batch_id uuid, delay float)
"""
OPEN = """
select pgqueue.open_batch(%(name)s, %(job)s, %(job)s, %(job)s, p_id => %(id)s)
"""
CLOSE = "select pgqueue.close_batch(%s)"
CALLED = json.dumps({"job_type": "called", "queue": flow.QUEUE})
WAITING = "select job_id::text from pgqueue.blocked where reason = 'signal' limit 20"
EARLY = """
select id::text from pgqueue.job_status where job_type = 'asking' and status = 'queued' limit 5
"""
BLOCKING = """
select o.job_id::text from pgqueue.ordered_jobs o
join pgqueue.finished f on f.job_id = o.job_id
where f.status = 'failed' and f.finished_at < clock_timestamp() - interval '0.3 seconds' limit 5
"""
POOR = "select customer from metering.wallet_status where held_jobs > 0"
SIGNALS = "select pgqueue.signal(%s, %s, %s::jsonb)"
SKIP = "select pgqueue.skip_ordered(%s)"
DEPOSIT = "select metering.deposit(%s, 'EUR', %s, %s)"


def works(client: Client) -> None:
    """Batches, jobs that wait for a signal, jobs that cost money."""
    _load(client, ((_paid, 6), (_asking, 3), (_batch, 1)))


def limits(client: Client) -> None:
    """Jobs of limited keys and types, of a rate, of ordering keys, of a tenant with a quota."""
    _load(client, ((_keyed, 4), (_limited, 3), (_rated, 2), (_ordered, 3), (_small, 2)))


def _load(client: Client, kinds: tuple[tuple[Callable[[Client], None], int], ...]) -> None:
    began = time.monotonic()
    total, rate = client.spec["jobs"], client.spec["rate"]
    while client.done < total:
        ahead = client.done / rate - (time.monotonic() - began)
        time.sleep(max(0.0, min(ahead, 1.0)))
        client.draw.choices([k[0] for k in kinds], [k[1] for k in kinds])[0](client)


def _job(client: Client, job_type: str, *, fails: float = 0.05, **more: Any) -> Row:
    draw = client.draw
    payload: Row = {"seconds": draw.uniform(0, 0.15)}
    if draw.random() < fails:
        payload["end"] = "fail"
    elif draw.random() < 0.15:
        payload["end"] = draw.choice(("retry", "raise"))
        payload["delay"] = draw.uniform(0, 0.3)
    return {
        "id": str(uuid4()),
        "job_type": job_type,
        "queue": flow.QUEUE,
        "payload": payload,
        **more,
    }


def _enqueue(client: Client, rows: list[Row], **what: Any) -> bool:
    def act(conn: BoundedConnection) -> None:
        conn.execute(INSERT, (json.dumps(rows),))

    done = client.attempt("enqueue", act, jobs=[row["id"] for row in rows], **what)
    # Refused ones count, too: money and quotas are short on purpose.
    client.done += len(rows)
    return done


def _keyed(client: Client) -> None:
    """Several of one key at once, so that it is busy."""
    key = f"k{client.draw.randrange(flow.KEYS)}"
    n = client.draw.randrange(1, 8)
    _enqueue(client, [_job(client, "keyed", concurrency_key=key) for _ in range(n)])


def _limited(client: Client) -> None:
    _enqueue(client, [_job(client, "limited") for _ in range(client.draw.randrange(1, 8))])


def _rated(client: Client) -> None:
    _enqueue(client, [_job(client, "rated") for _ in range(client.draw.randrange(1, 8))])


def _ordered(client: Client) -> None:
    """A failed job of an odd key blocks those behind it, of an even one it does not."""
    n = client.draw.randrange(flow.KEYS)
    more = {"ordering_key": f"o{n}", "ordering_on_failure": ("skip", "block")[n % 2]}
    jobs = client.draw.randrange(1, 6)
    _enqueue(client, [_job(client, "ordered", fails=0.08, **more) for _ in range(jobs)])


def _small(client: Client) -> None:
    """Of the tenant with a quota; they wait for their time, so that it is used up."""
    more: dict[str, Any] = {"tenant_id": flow.TENANT, "delay": client.draw.uniform(1, 3)}
    _enqueue(client, [_job(client, "member", **more) for _ in range(client.draw.randrange(1, 7))])


def _asking(client: Client) -> None:
    _enqueue(client, [_job(client, "asking", fails=0)])


def _paid(client: Client) -> None:
    """One statement locks the wallets of its jobs in their order, whoever pays."""
    rows = [
        _job(
            client,
            client.draw.choice(tuple(flow.PRICES)),
            fails=0.15,
            headers={"customer": client.draw.choice(flow.CUSTOMERS)},
        )
        for _ in range(client.draw.choice((1, 1, 2, 4)))
    ]
    _enqueue(client, rows)


def _batch(client: Client) -> None:
    """Open, add, close; some without a failure, some empty, some that grow from inside."""
    batch = str(uuid4())
    fails = client.draw.choice((0.0, 0.0, 0.2))
    given = {"name": f"batch {batch[:8]}", "job": CALLED, "id": batch}
    _surely(client, "open", partial(_execute, sql=OPEN, given=given))
    for _ in range(client.draw.randrange(4)):
        rows = [
            _job(client, "member", fails=fails, batch_id=batch)
            for _ in range(client.draw.randrange(1, 7))
        ]
        if client.draw.random() < 0.3:
            rows[0]["payload"]["end"] = "grow"
        _enqueue(client, rows, batch=batch)
    _surely(client, "close", partial(_execute, sql=CLOSE, given=(batch,)))


def _surely(client: Client, f: str, act: Callable[[BoundedConnection], None]) -> None:
    """Until it is acknowledged: what is repeated is harmless to repeat."""
    for _ in range(TRIES):
        if client.attempt(f, act):
            return
        time.sleep(PAUSE_SECONDS)
    raise AssertionError(f"{f}: not acknowledged in {TRIES} tries")


def _execute(conn: BoundedConnection, *, sql: Any, given: Any) -> None:
    conn.execute(sql, given)


def steward(client: Client) -> None:
    """Answer jobs that wait, skip those that block, pay money in; until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        time.sleep(client.draw.uniform(0.05, 0.3))
        for job in _some(client, WAITING if client.draw.random() < 0.8 else EARLY):
            if client.draw.random() < 0.5:
                given = (job, flow.SIGNAL, json.dumps({"said": job}))
                client.attempt("signal", partial(_tell, given=given), job=job)
        for job in _some(client, BLOCKING):
            client.attempt("skip", partial(_execute, sql=SKIP, given=(job,)), job=job)
        rich = [c for c in flow.CUSTOMERS if client.draw.random() < 0.04]
        for customer in [*rich, *_some(client, POOR)]:
            amount = client.draw.randrange(30, 200)
            reference = str(uuid4())
            client.attempt(
                "deposit",
                partial(_execute, sql=DEPOSIT, given=(customer, amount, reference)),
                reference=reference,
                amount=amount,
            )


def _tell(conn: BoundedConnection, *, given: Any) -> dict[str, Any]:
    row = conn.execute(SIGNALS, given).fetchone()
    assert row is not None
    return {"first": row[0]}


def _some(client: Client, sql: Any) -> list[str]:
    try:
        return [row[0] for row in client.conn.execute(sql)]
    except (psycopg.Error, OSError):
        client.drop()
        time.sleep(PAUSE_SECONDS)
        return []


KINDS = {"works": works, "limits": limits, "steward": steward}
