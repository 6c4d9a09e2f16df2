"""The job that delivers: `pgqueue.callback`."""

from __future__ import annotations

import http.client
import re
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pgqueue import calls
from pgqueue.callback.address import Refused
from pgqueue.callback.policy import Policy
from pgqueue.callback.post import post
from pgqueue.context import JobContext  # noqa: TC001  # the binder reads it at run time
from pgqueue.definition import Backoff
from pgqueue.outcomes import Fail, Retry
from pgqueue.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgqueue.callback.post import Answer
    from pgqueue.calls import SignedCallback

__all__ = ["deliver", "jobs"]

JOB_TYPE = "pgqueue.callback"
QUEUE = "callbacks"
GONE = 410
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[!-~]([ -~]{0,510}[!-~])?")

jobs = Registry("pgqueue.callback")


class DeliveryFailed(Exception):
    """Worth another try."""

    code = "callback_failed"


# As enqueue_callbacks() registers it: 12 attempts over about a day. Transactional for the
# connection, on which the database signs: each delivery under way holds one.
@jobs.job(
    JOB_TYPE,
    queue=QUEUE,
    retries=11,
    timeout=30,
    transactional=True,
    backoff=Backoff(base=10, factor=3, cap=6 * 3_600),
)
def deliver(ctx: JobContext, payload: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Tell a callback_url that its job has finished."""
    signed: SignedCallback = calls.run(ctx.connection, calls.sign_callback(ctx.id, ctx.token))
    host = urlsplit(signed.url).hostname
    if signed.signature is None:
        raise Fail(
            f"callbacks to {host} are not allowed: no secret was added for it",
            code="callback_host_unknown",
        )
    headers = {
        "content-type": "application/json",
        "user-agent": "pgqueue",
        "webhook-id": signed.webhook_id,
        "webhook-timestamp": str(signed.timestamp),
        "webhook-signature": signed.signature,
        **_trace(ctx.headers),
    }
    try:
        answer = post(signed.url, signed.body.encode(), headers, Policy.from_environment())
    except Refused as exc:
        raise Fail(f"callback to {host} refused: {exc}", code="callback_refused") from exc
    except ssl.SSLCertVerificationError as exc:
        raise DeliveryFailed(f"callback to {host}: {exc.verify_message}") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise DeliveryFailed(f"callback to {host}: {type(exc).__name__}") from exc
    return _judged(answer, host)


def _judged(answer: Answer, host: str | None) -> dict[str, Any]:
    """Return the result of a delivery; raises unless it succeeded. A redirect has not."""
    if http.client.OK <= answer.status < http.client.MULTIPLE_CHOICES:
        return {"status": answer.status}
    said = f"{host} answered {answer.status}"
    if answer.status == GONE:
        raise Fail(f"{said}: it wants no more callbacks", code="callback_gone")
    if answer.retry_after_seconds is not None:
        raise Retry(answer.retry_after_seconds, reason=said)
    raise DeliveryFailed(said)


def _trace(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the trace context, if it is one: a producer wrote it, and it becomes HTTP headers."""
    parent, state = headers.get("traceparent"), headers.get("tracestate")
    if not isinstance(parent, str) or not _TRACEPARENT.fullmatch(parent):
        return {}
    if isinstance(state, str) and _TRACESTATE.fullmatch(state):
        return {"traceparent": parent, "tracestate": state}
    return {"traceparent": parent}
