"""The evidence about limits, orders, batches, signals, quotas and money."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.chaos import flow
from tests.chaos.evidence import Batch, Money

if TYPE_CHECKING:
    import psycopg

    from tests.chaos.evidence import Evidence, Flow
    from tests.chaos.history import Event

JOBS = """
select id::text, job_type, concurrency_key, ordering_key, ordering_on_failure = 'block',
    tenant_id, batch_id::text, headers ->> 'batch_id', headers ->> 'batch_event'
from pgqueue.jobs
where job_type = any (%s)
"""
TYPES = ["keyed", "limited", "rated", "ordered", "member", "called", "asking", *flow.PRICES]
BATCHES = """
select s.id::text, s.total, s.succeeded, s.failed, s.cancelled,
    s.finished_at is not null
    and not exists (select from pgqueue.batch_log l where l.batch_id = s.id)
from pgqueue.batch_status s
"""
# As verify() has it: pause_until() may have found the job's row locked.
UNHEARD = """
select b.job_id::text from pgqueue.blocked b
join pgqueue.signals s on s.job_id = b.job_id and s.name = b.signal
where b.reason = 'signal' and (b.look_at is null or b.look_at > clock_timestamp() + interval '1 s')
"""
METERED = "select to_regclass('chaos.money') is not null"
MONEY = """
select wallet, job::text, what, amount, reference, xid::text::bigint from chaos.money order by seq
"""
WALLETS = """
select w.id, s.balance, s.pending from metering.wallet_status s
join metering.wallets w on w.customer = s.customer and w.currency = s.currency
"""
HELD = "select job_id::text from metering.holds"
VERIFY = "select v::text from pgqueue.verify() v"
VERIFY_MONEY = "select v::text from metering.verify() v"


def look(evidence: Evidence, db: psycopg.Connection[Any]) -> None:
    """Read what the database knows, in the caller's snapshot."""
    known = evidence.flow
    members: defaultdict[str, set[str]] = defaultdict(set)
    callbacks: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for job, kind, key, order, blocks, tenant, batch, of, event in db.execute(JOBS, (TYPES,)):
        _gates(known, job, kind, key, order, blocks=bool(blocks))
        if tenant == flow.TENANT:
            known.tenants[job] = tenant
        if batch is not None:
            members[batch].add(job)
        if event is not None:
            callbacks[of][event] = callbacks[of].get(event, 0) + 1
            evidence.asked[job] = "follow"
        if kind == "asking":
            known.asking.add(job)
        if kind in flow.PRICES:
            known.prices[job] = flow.PRICES[kind]
    known.limits["type limited"] = flow.TYPE_MAX
    known.rates["type rated"] = (1 / flow.RATE_JOBS, flow.RATE_BURST)
    known.quotas[flow.TENANT] = flow.TENANT_WAITING_MAX
    evidence.problems += [row[0] for row in db.execute(VERIFY)]
    known.unheard = [row[0] for row in db.execute(UNHEARD)]
    for batch, *numbers, settled in db.execute(BATCHES):
        total, succeeded, failed, cancelled = numbers
        counted = (total, succeeded, failed, cancelled)
        jobs = frozenset[Any](members[batch])
        known.batches.append(Batch(batch, jobs, counted, settled, callbacks[batch]))
    if db.execute(METERED).fetchone() == (True,):
        known.money = [Money(*row) for row in db.execute(MONEY)]
        known.wallets = {wallet: (has, owes) for wallet, has, owes in db.execute(WALLETS)}
        evidence.problems += [row[0] for row in db.execute(VERIFY_MONEY)]
        known.held = {row[0] for row in db.execute(HELD)}


def _gates(
    known: Flow, job: str, kind: str, key: str | None, order: str | None, *, blocks: bool
) -> None:
    if kind in {"limited", "rated"}:
        known.gates[job] = (f"type {kind}",)
    elif key is not None:
        known.gates[job] = (f"key {key}",)
        known.limits[f"key {key}"] = flow.KEY_MAX
    elif order is not None:
        known.gates[job] = (f"order {order}",)
        known.limits[f"order {order}"] = 1
        known.ordered[job] = (order, blocks)


def answer(known: Flow, asked: Event, answered: Event | None) -> None:
    """Read how a payment ended."""
    if asked["f"] == "deposit":
        ended = "info" if answered is None else answered["ty"]
        known.deposits[asked["reference"]] = (ended, asked["amount"])


def hear(known: Flow, events: list[Event]) -> None:
    """Read since when there are limits, and what the steward has asked for."""
    known.limited_at = min((event["t"] for event in events if event["f"] == "limit"), default=0)
    for event in events:
        if event["f"] == "signal" and event["ty"] == "invoke":
            known.told.add(event["job"])
        elif event["f"] == "skip" and event["ty"] == "invoke":
            known.skipped.setdefault(event["job"], event["t"])
