"""
Calling somebody's HTTP API from a handler: every answer ends in a value, a retry or a failure.

    200 with JSON                      the value; numbers with a fraction are Decimals
    429 or 503 that names a time       pgqueue.Retry at that time, but within `wait_seconds_max`
    429, 408, 425, 5xx, no answer,     ServiceUnavailable or BadAnswer: retried with the job type's
    or no JSON                         backoff
    any other status, or too large     pgqueue.Fail: another attempt would end the same way

Needs the extra: pip install .[http] in a checkout of pgqueue.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

import httpx

from pgqueue import Fail, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT_CHARACTERS_MAX = 200
_PATIENCE = frozenset({408, 425, 429})
_NAMES_A_TIME = frozenset({429, 503})
_SERVER_ERROR = 500


class ServiceUnavailable(Exception):
    """The service did not answer, or said that it cannot now."""

    code = "service_unavailable"


class BadAnswer(Exception):
    """The service answered with what is no JSON, or with less than it announced."""

    code = "bad_answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """
    Where a service is, and how patient to be with it.

    Attributes:
        name: For messages.
        url: What paths are appended to.
        headers: Sent with every request, such as an API key.
        seconds: The whole of one request may take this long, its body included.
        bytes_max: Larger answers are refused, and not read to the end.
        wait_seconds_max: However late a 429 says that we may come again, we come by then.
    """

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 20.0
    bytes_max: int = 16 * 1024 * 1024
    wait_seconds_max: float = 3600.0


class HttpClient:
    """
    Requests to one service; a context manager, for one run of a handler.

    Args:
        service: Which.

    Attributes:
        requests: How many were sent.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.requests = 0
        # Redirects are not followed: they could lead the API key elsewhere.
        self._client = httpx.AsyncClient(headers=dict(service.headers), timeout=service.seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, **parameters: object) -> Any:
        """Ask for *path*; see `request`."""
        return await self.request("GET", path, parameters=parameters)

    async def post(
        self, path: str, body: object, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Send *body* as JSON; see `request`. An idempotency key belongs in *headers*."""
        return await self.request("POST", path, body=body, headers=headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """
        Send one request and return the JSON of its answer.

        Args:
            method: GET, POST and so on.
            path: Appended to the service's URL; begins with a slash.
            parameters: Of the query.
            body: Sent as JSON.
            headers: Besides the service's.

        Raises:
            Retry: The service named the time to come again.
            Fail: It refuses the request, or answers with too much.
            ServiceUnavailable: No answer in time, or not now.
            BadAnswer: No JSON, or only a part of it.
        """
        what = f"{self.service.name}: {method} {path}"
        self.requests += 1
        try:
            async with (
                asyncio.timeout(self.service.seconds),
                self._client.stream(
                    method,
                    self.service.url.rstrip("/") + path,
                    params=None
                    if parameters is None
                    else {k: str(v) for k, v in parameters.items()},
                    json=body,
                    headers=dict(headers or {}),
                ) as answer,
            ):
                content = await _read(answer, what, self.service.bytes_max)
        except (TimeoutError, httpx.TimeoutException) as exc:
            raise ServiceUnavailable(f"{what}: no answer in {self.service.seconds:g} s") from exc
        except (httpx.RemoteProtocolError, httpx.DecodingError, httpx.ReadError) as exc:
            raise BadAnswer(f"{what}: the answer broke off: {exc}") from exc
        except httpx.TransportError as exc:
            raise ServiceUnavailable(f"{what}: {str(exc) or type(exc).__name__}") from exc
        check_status(answer, content, what, self.service)
        return _value(content, what)


async def _read(answer: httpx.Response, what: str, bytes_max: int) -> bytes:
    content = bytearray()
    async for part in answer.aiter_bytes():
        content += part
        if len(content) > bytes_max:
            raise Fail(f"{what}: the answer is larger than {bytes_max} bytes", code="too_large")
    return bytes(content)


def check_status(answer: httpx.Response, content: bytes, what: str, service: Service) -> None:
    """
    Make sure that *answer* is a success; raises what the module's docstring says.

    Args:
        answer: Its status and headers are looked at.
        content: Its body, or what is known of it; a failure quotes the beginning.
        what: The request, for messages.
        service: How long to wait at most.
    """
    status = answer.status_code
    if answer.is_success:
        return
    said = content[:_TEXT_CHARACTERS_MAX].decode("utf-8", "replace")
    if status in _NAMES_A_TIME:
        wait = retry_after_seconds(answer.headers.get("retry-after"))
        if wait is not None:
            wait = min(wait, service.wait_seconds_max)
            raise Retry(after=wait, reason=f"{what}: status {status}, again in {wait:.0f} s")
    if status in _PATIENCE or status >= _SERVER_ERROR:
        raise ServiceUnavailable(f"{what}: status {status}")
    raise Fail(f"{what}: status {status}", code=f"http_{status}", details={"answer": said})


def retry_after_seconds(text: str | None, *, now: dt.datetime | None = None) -> float | None:
    """
    Read a Retry-After header: seconds, or a date; None when it is neither.

    Args:
        text: The header.
        now: For a date.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = date if date.tzinfo is not None else date.replace(tzinfo=dt.UTC)
    return max(0.0, (aware - (now or dt.datetime.now(dt.UTC))).total_seconds())


def _value(content: bytes, what: str) -> Any:
    if not content:
        return None
    try:
        return json.loads(content, parse_float=Decimal, parse_constant=_refused)
    except (ValueError, RecursionError) as exc:
        raise BadAnswer(f"{what}: the answer is no JSON: {exc}") from exc


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
