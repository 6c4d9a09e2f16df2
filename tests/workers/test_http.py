"""workers.http: what each answer of a service leads to."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import Fail, Retry
from tests.support import web
from workers.http import BadAnswer, HttpClient, Service, ServiceUnavailable, retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = dt.datetime(2025, 1, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def api() -> Iterator[web.Pretender]:
    """Answers with what it was asked."""
    with web.pretending(
        lambda request: web.Answer(
            body={
                "path": request.path,
                "query": dict(request.query),
                "key": request.headers.get("x-api-key"),
                "sent": request.body.decode(),
            }
        )
    ) as pretender:
        yield pretender


def get(api: web.Pretender, path: str = "/coins", *, url: str = "", **limits: Any) -> Any:
    """Ask once."""

    async def once() -> Any:
        service = Service(
            name="coins", url=url or api.url + "/v3/", headers={"x-api-key": "secret"}, **limits
        )
        async with HttpClient(service) as client:
            return await client.get(path, page=2)

    return asyncio.run(once())


def test_a_request_carries_the_key_and_the_query(api: web.Pretender) -> None:
    """And the path below the service's."""
    answer = get(api)

    assert answer == {"path": "/v3/coins", "query": {"page": "2"}, "key": "secret", "sent": ""}


def test_a_body_is_sent_as_json(api: web.Pretender) -> None:
    """With headers of its own."""

    async def once() -> Any:
        async with HttpClient(Service(name="coins", url=api.url)) as client:
            return await client.post("/orders", {"a": 1}, headers={"x-api-key": "other"})

    answer = asyncio.run(once())

    assert (answer["sent"].replace(" ", ""), answer["key"]) == ('{"a":1}', "other")
    assert api.requests[0].json() == {"a": 1}


def test_numbers_with_a_fraction_are_exact(api: web.Pretender) -> None:
    """A price of 0.1 is 0.1."""
    api.next(web.Answer(body=b'{"price": 0.1000}'))

    assert str(get(api)["price"]) == "0.1000"
    assert Decimal("0.1") * 3 == Decimal("0.3")


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_names_a_time_gets_a_retry_at_that_time(
    api: web.Pretender, status: int
) -> None:
    """In seconds or as a date."""
    api.next(web.too_many(7, status=status))
    with pytest.raises(Retry, match=f"coins: GET /coins: status {status}") as seconds:
        get(api)
    api.next(web.too_many(at=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90), status=status))
    with pytest.raises(Retry) as date:
        get(api)

    assert seconds.value.delay_seconds() == 7
    assert 80 < (date.value.delay_seconds() or 0) <= 90


def test_a_wait_is_never_longer_than_allowed(api: web.Pretender) -> None:
    """A service that says `in a year` does not stop us for a year."""
    api.next(web.too_many(31_536_000))

    with pytest.raises(Retry) as caught:
        get(api, wait_seconds_max=60.0)

    assert caught.value.delay_seconds() == 60


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        (" 0 ", 0.0),
        ("99999999999999999999", 999_999_999.0),
        ("Wed, 01 Jan 2025 12:00:30 GMT", 30.0),
        ("Wed, 01 Jan 2025 11:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0665", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_the_standard_writes_it(
    header: str | None, seconds: float | None
) -> None:
    """Seconds or a date; anything else is as if it were not there."""
    assert retry_after_seconds(header, now=NOW) == seconds


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (web.too_many(None), "status 429"),
        (web.broken(500), "status 500"),
        (web.broken(503), "status 503"),
        (web.broken(408), "status 408"),
    ],
)
def test_a_service_that_cannot_now_is_asked_again_with_backoff(
    api: web.Pretender, answer: web.Answer, error: str
) -> None:
    """The error is no outcome: the worker retries it."""
    api.next(answer)

    with pytest.raises(ServiceUnavailable, match=f"coins: GET /coins: {error}"):
        get(api)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 422])
def test_a_request_that_is_refused_fails_at_once(api: web.Pretender, status: int) -> None:
    """With the status as its code, and what the service said."""
    api.next(web.refused(status, "no such coin"))

    with pytest.raises(Fail, match=f"coins: GET /coins: status {status}") as caught:
        get(api)

    assert caught.value.error.code == f"http_{status}"
    assert caught.value.details == {"answer": '{"error": "no such coin"}'}


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"a": ', b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b"9" * 5_000]
)
def test_an_answer_that_is_no_json_says_so(api: web.Pretender, body: bytes) -> None:
    """And is asked for again, for it may be a proxy's."""
    api.next(web.malformed(body))

    with pytest.raises(BadAnswer, match="coins: GET /coins: the answer is no JSON"):
        get(api)


def test_an_answer_that_breaks_off_says_so(api: web.Pretender) -> None:
    """Fewer bytes than announced."""
    api.next(web.cut())

    with pytest.raises(BadAnswer, match="coins: GET /coins: the answer broke off"):
        get(api)


def test_an_answer_that_is_too_large_is_not_read(api: web.Pretender) -> None:
    """Memory is bounded."""
    api.next(web.too_large(200_000))

    with pytest.raises(Fail, match="larger than 100000 bytes") as caught:
        get(api, bytes_max=100_000)

    assert caught.value.error.code == "too_large"


def test_a_service_that_does_not_answer_is_given_up(api: web.Pretender) -> None:
    """At the deadline of the whole request."""
    gate = threading.Event()
    api.next(web.held(gate))

    with pytest.raises(ServiceUnavailable, match=r"no answer in 0\.2 s"):
        get(api, seconds=0.2)
    gate.set()


def test_a_service_that_is_not_there_is_unavailable(api: web.Pretender) -> None:
    """Nobody listens at that port."""
    with pytest.raises(ServiceUnavailable, match="coins: GET /coins: "):
        get(api, url="http://127.0.0.1:1")
