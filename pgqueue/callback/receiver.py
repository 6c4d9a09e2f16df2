"""For who receives callbacks: is this message from our queue, and is it new?"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["BadSignature", "verify"]

TOLERANCE_SECONDS = 300.0
_PREFIX = "whsec_"


class BadSignature(ValueError):
    """Answer 401 and do nothing."""


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Iterable[str],
    *,
    tolerance: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> Any:
    """
    Check a callback and return its JSON.

    A message may come more than once, always with the same webhook-id: remember those that you have
    handled, for longer than the tolerance.

    Args:
        body: The bytes as they came, before any parsing.
        headers: Of the request, in any case.
        secrets: The one or several that are in use; any one will do.
        tolerance: How many seconds the timestamp may lie in the past or the future.
        now: Instead of the clock.

    Raises:
        BadSignature: A header is missing, the time is out of tolerance, or no signature fits.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        webhook_id, timestamp = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"].split(" ")
    except KeyError as exc:
        raise BadSignature(f"the header {exc.args[0]} is missing") from exc
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):  # noqa: PLR2004
        raise BadSignature("webhook-timestamp is not a number")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        raise BadSignature("webhook-timestamp is too old or in the future")
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    known = [secrets] if isinstance(secrets, str) else list(secrets)
    wanted = [_signature(secret, signed) for secret in known]
    # No early end: the time that it takes says nothing about which one fits.
    fits = [
        hmac.compare_digest(mine.encode(), theirs.encode())
        for mine in wanted
        for theirs in signatures
    ]
    if not any(fits):
        raise BadSignature("no signature fits")
    return json.loads(body)


def _signature(secret: str, signed: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as exc:
        raise ValueError("a secret is whsec_ and base64") from exc
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
