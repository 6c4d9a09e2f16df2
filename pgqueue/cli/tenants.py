"""`pgqueue tenants`: what each has waiting; quotas, weights, turns, and who is confined."""

from __future__ import annotations

import click

from pgqueue.calls import tenants as calls
from pgqueue.cli.base import Group
from pgqueue.cli.database import connected
from pgqueue.cli.output import Column, emit, emit_rows

_COLUMNS = (
    Column("tenant_id", "tenant"),
    Column("queued", kind="number"),
    Column("oldest_queued_at", "oldest", kind="time", optional=True),
    Column("scheduled", kind="number"),
    Column("retrying", kind="number"),
    Column("blocked", kind="number"),
    Column("running", kind="number"),
    Column("finished_hour", "done/h", kind="number"),
    Column("failed_hour", "failed/h", kind="number"),
    Column("weight", kind="number"),
    Column("waiting_max", "may wait", kind="number", optional=True),
    Column("waiting_bytes", "bytes", kind="number", optional=True),
    Column("waiting_bytes_max", "may be", kind="number", optional=True),
    Column("payload_bytes_max", "in one", kind="number", optional=True),
)
_bytes = click.IntRange(min=0)


@click.group(cls=Group)
def tenants() -> None:
    """List tenants, and set their quotas, weights and logins."""


@tenants.command("list", examples=("pgqueue tenants list", "pgqueue tenants list --json"))
def list_() -> None:
    """
    Show every tenant: what waits and runs, its weight and its quotas.

    The row without a name is that of jobs without a tenant. At most 100,000 rows of each kind are
    counted; `counted_in_full` (with --json) says whether that was all.
    """
    with connected() as db:
        rows = db.view("tenant_stats", order="tenant_id")
    emit_rows(rows, _COLUMNS, nothing="No tenants.")


@tenants.command(
    examples=(
        "pgqueue tenants quota acme --waiting 10000 --payload-bytes 65536",
        "pgqueue tenants quota acme --none",
    )
)
@click.argument("tenant")
@click.option("--waiting", type=click.IntRange(0, 10_000_000), metavar="N", help="Jobs waiting.")
@click.option("--waiting-bytes", type=_bytes, metavar="N", help="Bytes of payload in those.")
@click.option("--payload-bytes", type=_bytes, metavar="N", help="Bytes of payload in one job.")
@click.option("--none", "unlimited", is_flag=True, help="Any number of each.")
def quota(
    tenant: str,
    *,
    waiting: int | None,
    waiting_bytes: int | None,
    payload_bytes: int | None,
    unlimited: bool,
) -> None:
    """Set what a tenant may have waiting, and replace what was set before."""
    given = {
        "waiting_max": waiting,
        "waiting_bytes_max": waiting_bytes,
        "payload_bytes_max": payload_bytes,
    }
    if unlimited == any(value is not None for value in given.values()):
        raise click.UsageError("Name a quota, or --none.")
    with connected() as db:
        db.run(calls.set_tenant_quota(tenant, **given))
    told = ", ".join(f"{name} {value:,}" for name, value in given.items() if value is not None)
    emit({"tenant_id": tenant, **given}, f"quota of tenant {tenant}: {told or 'none'}")


@tenants.command(examples=("pgqueue tenants weight acme 3",))
@click.argument("tenant")
@click.argument("weight", type=click.FloatRange(0.125, 100))
def weight(tenant: str, weight: float) -> None:
    """
    Set how many turns a tenant gets in fair queues.

    1 is what a tenant has for which nothing is set. It holds for jobs inserted from now on.
    """
    with connected() as db:
        db.run(calls.set_tenant_weight(tenant, weight))
    emit({"tenant_id": tenant, "weight": weight}, f"weight of tenant {tenant}: {weight:g}")


@tenants.command(examples=("pgqueue tenants fair mail", "pgqueue tenants fair mail --off"))
@click.argument("queue")
@click.option("--off", is_flag=True, help="By arrival again.")
def fair(queue: str, *, off: bool) -> None:
    """
    Let the tenants of a queue take turns.

    For the schema's owner. What waits is placed anew, while every INSERT of a job waits: about 20 s
    per million waiting jobs.
    """
    with connected() as db:
        db.run(calls.set_fairness(queue, fair=not off))
    how = "go by arrival" if off else "take turns"
    emit({"queue": queue, "fair": not off}, f"the tenants of queue {queue} {how}")


@tenants.command(examples=("pgqueue tenants confine acme_app acme",))
@click.argument("role")
@click.argument("tenant")
def confine(role: str, tenant: str) -> None:
    """
    Let a login see and insert the jobs of one tenant only.

    For the schema's owner. The first time this turns row-level security on.
    """
    with connected() as db:
        db.run(calls.enable_tenants())
        db.run(calls.confine(role, tenant))
    emit({"role": role, "tenant_id": tenant}, f"{role} is confined to tenant {tenant}")


@tenants.command(examples=("pgqueue tenants unconfine acme_app",))
@click.argument("role")
def unconfine(role: str) -> None:
    """Let a login see the jobs of all tenants again."""
    with connected() as db:
        db.run(calls.unconfine(role))
    emit({"role": role, "tenant_id": None}, f"{role} is not confined any more")
