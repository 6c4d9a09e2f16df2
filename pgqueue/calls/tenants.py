"""The calls about tenants: who is confined, whose turn it is, how much each may have waiting."""

from __future__ import annotations

from pgqueue.calls.core import Call, nothing

__all__ = [
    "confine",
    "enable_tenants",
    "set_fairness",
    "set_tenant_quota",
    "set_tenant_weight",
    "unconfine",
]


def enable_tenants() -> Call[None]:
    """Turn row-level security on, for the schema's owner. Harmless to repeat."""
    return Call("select pgqueue.enable_tenants()", (), nothing, repeatable=True)


def confine(role: str, tenant_id: str) -> Call[None]:
    """
    Let a login see and insert the jobs of one tenant only, for the schema's owner.

    Raises:
        InvalidArgument: Tenants are not enabled, or the role acts on all of them.
    """
    return Call("select pgqueue.confine(%s, %s)", (role, tenant_id), nothing, repeatable=True)


def unconfine(role: str) -> Call[None]:
    """Undo `confine`."""
    return Call("select pgqueue.unconfine(%s)", (role,), nothing, repeatable=True)


def set_fairness(queue: str, *, fair: bool = True) -> Call[None]:
    """Let the tenants of a queue take turns, or not any more; for the schema's owner."""
    return Call("select pgqueue.set_fairness(%s, %s)", (queue, fair), nothing, repeatable=True)


def set_tenant_weight(tenant_id: str, weight: float) -> Call[None]:
    """
    Set how many turns a tenant gets for one of a tenant without a weight.

    Raises:
        InvalidArgument: Not between 0.125 and 100.
    """
    return Call(
        "select pgqueue.set_tenant_weight(%s, %s)", (tenant_id, weight), nothing, repeatable=True
    )


def set_tenant_quota(
    tenant_id: str,
    *,
    waiting_max: int | None = None,
    waiting_bytes_max: int | None = None,
    payload_bytes_max: int | None = None,
) -> Call[None]:
    """
    Set what a tenant may have waiting; None = any number.

    Raises:
        InvalidArgument: A number is negative, or too large.
    """
    return Call(
        "select pgqueue.set_tenant_quota(%s, %s, %s, %s)",
        (tenant_id, waiting_max, waiting_bytes_max, payload_bytes_max),
        nothing,
        repeatable=True,
    )
