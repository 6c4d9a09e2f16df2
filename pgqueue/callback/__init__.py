"""
Callbacks: finished jobs tell their callback_url, by signed POST (Standard Webhooks).

The database makes each delivery a job of type pgqueue.callback, and signs it
(sql/functions/callback.sql); this package delivers. `pgqueue worker --callbacks` is
`--app pgqueue.callback --queue callbacks`; in a program of your own, include
`pgqueue.callback.jobs` into your registry.

    handler    the job: sign, post, say how it went
    policy     where callbacks may go, from PGQUEUE_CALLBACK_*
    address    which addresses are public
    post       one request over a checked address
    receiver   verify(), for who receives them
"""

from __future__ import annotations

from pgqueue.callback.handler import deliver, jobs
from pgqueue.callback.policy import Policy
from pgqueue.callback.receiver import BadSignature, verify

__all__ = ["BadSignature", "Policy", "deliver", "jobs", "verify"]
