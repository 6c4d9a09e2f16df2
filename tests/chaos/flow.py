"""What the load of `flow_load` needs: limits, customers with prices, a tenant with a quota."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import workers.metering
from pgqueue.migrate_app import migrate_app
from tests.support.psql import psql

if TYPE_CHECKING:
    from tests.chaos.arena import Arena

QUEUE = "flow"
KEYS = 6
KEY_MAX = 2  # jobs of one concurrency_key at once
TYPE_MAX = 3  # jobs of the type `limited` at once
RATE_JOBS, RATE_BURST = 10, 3  # a second; the type `rated`
TENANT, TENANT_WAITING_MAX = "small", 12
CUSTOMERS = ("ann", "bob", "cid")
PRICES = {"paid": 30, "paid_later": 70}  # the second waits for money, the first is refused
SIGNAL = "go"
SETTLE_SECONDS = 20.0
OLD = """
select count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and xact_start < %s
"""


def prepare(arena: Arena) -> None:
    """Before the load: metering, its witness, customers, prices, and a tenant with a quota."""
    dsn = arena.dsn("postgres", "harness")
    migrate_app(workers.metering.__name__, dsn)
    psql(dsn, file=arena.sql / "money.sql")
    with arena.db() as db:
        for customer in CUSTOMERS:
            db.execute("select metering.set_customer(%s)", (customer,))
        for job_type, cost in PRICES.items():
            policy = "refuse" if job_type == "paid" else "hold"
            db.execute(
                "select metering.set_price(%s, %s, 'EUR', %s)",
                (job_type, cost, policy),
            )
        db.execute(
            "select pgqueue.set_tenant_quota(%s, %s)",
            (TENANT, TENANT_WAITING_MAX),
        )


def limit(arena: Arena) -> None:
    """Set the limits; returns when no claim is under way that has not heard of them."""
    arena.record("limit", "invoke")  # from now on claims are others: see order.py
    with arena.db() as db:
        db.execute("select pgqueue.set_limit('key', 'keyed', %s)", (KEY_MAX,))
        db.execute("select pgqueue.set_limit('job_type', 'limited', %s)", (TYPE_MAX,))
        db.execute(
            "select pgqueue.set_limit('job_type', 'rated', null, %s, '1 second', %s)",
            (RATE_JOBS, RATE_BURST),
        )
        row = db.execute("select clock_timestamp()").fetchone()
        deadline = time.monotonic() + SETTLE_SECONDS
        while db.execute(OLD, row).fetchone() != (0,) and time.monotonic() < deadline:
            time.sleep(0.05)
