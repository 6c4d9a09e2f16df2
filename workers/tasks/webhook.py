"""
POST a JSON body to a URL, signed, until the receiver takes it.

    WEBHOOK_HOSTS    where to: hooks.example.com,*.partner.example; without it, nowhere
    WEBHOOK_SECRET   whsec_ and base64: signs as Standard Webhooks has it
    PGQUEUE_CALLBACK_HTTP, _PORTS, _NETWORKS, _SECONDS   as for callbacks: public addresses, HTTPS
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import re
import time
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from pgqueue import Backoff, Fail, JobContext, Retry, job, jsonio
from pgqueue.callback.address import Refused
from pgqueue.callback.policy import Policy
from pgqueue.callback.post import Answer, post

# Answers that say "not now" and not "never".
TRANSIENT = frozenset({408, 409, 425, 429})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[ -~]{0,4000}")
# What the message is framed and signed with is ours.
_OURS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "upgrade", "te"}
)


class DeliveryFailed(Exception):
    """Worth another try."""

    code = "webhook_failed"


@job("webhook", retries=11, timeout=30, backoff=Backoff(base=10, factor=3, cap=6 * 3_600))
def webhook(
    ctx: JobContext, url: str, body: Any = None, headers: dict[str, str] | None = None
) -> dict[str, int]:
    """
    Send *body*. A receiver that keeps the webhook-id does nothing twice: it is the job's id.

    Args:
        ctx: The run.
        url: Its host must be one of WEBHOOK_HOSTS.
        body: Any JSON; the whole body of the request.
        headers: More headers.

    Returns:
        The status that the receiver answered, 200 to 299.

    Raises:
        Fail: Not allowed (webhook_refused), or the receiver will never take it (webhook_rejected).
        Retry: The receiver said when to come again.
        DeliveryFailed: Anything else; the backoff decides when.
    """
    host = _host(url)
    data = jsonio.dumps(body).encode()
    try:
        answer = post(url, data, _headers(ctx, data, headers or {}), Policy.from_environment())
    except Refused as exc:
        raise Fail(f"{host}: {exc}", code="webhook_refused") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise DeliveryFailed(f"{host}: {type(exc).__name__}") from exc
    return _judged(answer, host)


def _host(url: str) -> str:
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError as exc:
        raise Fail(f"the URL cannot be read: {exc}", code="webhook_refused") from exc
    allowed = [one.strip().lower() for one in os.environ.get("WEBHOOK_HOSTS", "").split(",")]
    if not host or not any(fnmatchcase(host, one) for one in allowed if one):
        raise Fail(
            f"webhooks to {host or 'no host'} are not allowed; WEBHOOK_HOSTS at the worker names"
            " the hosts",
            code="webhook_refused",
        )
    return host


def _headers(ctx: JobContext, data: bytes, given: dict[str, str]) -> dict[str, str]:
    for name, value in given.items():
        if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Fail(f"{name[:100]!r} is no header that can be sent", code="webhook_refused")
        if name.lower() in _OURS or name.lower().startswith("webhook-"):
            raise Fail(f"the header {name} is not the job's to set", code="webhook_refused")
    headers = {
        "user-agent": "pgqueue",
        **{name.lower(): value for name, value in given.items()},
        "content-type": "application/json",
        "webhook-id": str(ctx.id),
        "webhook-timestamp": str(int(time.time())),
        "webhook-attempt": str(ctx.attempt),
    }
    secret = os.environ.get("WEBHOOK_SECRET")
    if secret:
        headers["webhook-signature"] = _signature(secret, headers, data)
    return headers


def _signature(secret: str, headers: dict[str, str], data: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + data
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _judged(answer: Answer, host: str) -> dict[str, int]:
    if http.client.OK <= answer.status < http.client.MULTIPLE_CHOICES:
        return {"status": answer.status}
    said = f"{host} answered {answer.status}"
    if answer.retry_after_seconds is not None:
        raise Retry(answer.retry_after_seconds, reason=said)
    if answer.status < http.client.INTERNAL_SERVER_ERROR and answer.status not in TRANSIENT:
        raise Fail(said, code="webhook_rejected")
    raise DeliveryFailed(said)
