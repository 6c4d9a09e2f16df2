"""Callbacks end to end: a job finishes, a worker with --callbacks tells a receiver."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue.callback import jobs, verify
from pgqueue.registry import Registry
from tests.support.receiver import receiving
from tests.support.sqljobs import column, row, value
from tests.support.wait import eventually
from tests.support.workers import working

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue import JobContext
    from tests.support.receiver import Receiver
    from tests.support.sqljobs import Db

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver on 127.0.0.1, which the policy of the test's workers allows."""
    with receiving() as opened:
        monkeypatch.setenv("PGQUEUE_CALLBACK_HTTP", "1")
        monkeypatch.setenv("PGQUEUE_CALLBACK_PORTS", str(opened.port))
        monkeypatch.setenv("PGQUEUE_CALLBACK_NETWORKS", "127.0.0.0/8")
        yield opened


@pytest.fixture
def secret(db: Db, receiver: Receiver) -> str:
    """The receiver's."""
    return str(value(db, "select pgqueue.add_callback_secret(%s)", f"127.0.0.1:{receiver.port}"))


def _registry() -> Registry:
    registry = Registry("callbacks and their jobs")
    registry.include(jobs)

    def add(ctx: JobContext, a: int, b: int) -> dict[str, int]:
        ctx.logger.info("adds")
        return {"sum": a + b}

    registry.job("add")(add)
    return registry


_QUEUES = ("default", "callbacks")


def _insert(db: Db, url: str, **columns: Any) -> Any:
    given = {"job_type": "add", "payload": '{"a": 1, "b": 2}', "callback_url": url, **columns}
    return value(
        db,
        f"insert into pgqueue.inbox ({', '.join(given)})"
        f" values ({', '.join(['%s'] * len(given))}) returning id",
        *given.values(),
    )


def _delivery(db: Db, job_id: Any) -> tuple[Any, ...]:
    """Status and last error code of the delivery of this job."""
    return row(
        db,
        """select s.status, coalesce(s.errors -> -1, s.attempts -> -1 -> 'error') ->> 'code'
           from pgqueue.jobs j join pgqueue.job_status s on s.id = j.id where j.callback_of = %s""",
        job_id,
    )


def _ends(db: Db, job_id: Any, status: str) -> tuple[Any, ...]:
    def there() -> bool:
        found = column(
            db,
            "select s.status from pgqueue.jobs j join pgqueue.job_status s on s.id = j.id"
            " where j.callback_of = %s",
            job_id,
        )
        return found == [status]

    eventually(there, what=f"the delivery of {job_id} is {status}")
    return _delivery(db, job_id)


def test_a_receiver_hears_and_can_check_it(
    dsn: str, db: Db, receiver: Receiver, secret: str
) -> None:
    """Body, signature, trace; and the delivery succeeds."""
    headers = json.dumps({"traceparent": _TRACE, "tracestate": "a=b"})
    with working(_registry(), dsn, queues=_QUEUES):
        job_id = _insert(db, receiver.url, headers=headers)
        (got, *_) = receiver.gets(1)
        ended = _ends(db, job_id, "succeeded")
    message = verify(got.body, got.headers, secret)

    assert got.path == "/hooks?key=1"
    assert message["type"] == "job.succeeded"
    assert (message["data"]["id"], message["data"]["result"]) == (str(job_id), {"sum": 3})
    assert (got.headers["traceparent"], got.headers["tracestate"]) == (_TRACE, "a=b")
    assert got.headers["content-type"] == "application/json"
    assert ended == ("succeeded", None)


def test_a_receiver_that_is_busy_hears_it_again_under_the_same_id(
    dsn: str, db: Db, receiver: Receiver, secret: str
) -> None:
    """Retry-After is honoured; id and body stay, the signature is new and fits."""
    receiver.answers = [(503, {"retry-after": "0"}), (429, {"retry-after": "0"}), (204, {})]
    with working(_registry(), dsn, queues=_QUEUES, poll_seconds=0.1):
        job_id = _insert(db, receiver.url)
        got = receiver.gets(3)
        _ends(db, job_id, "succeeded")

    assert len({one.headers["webhook-id"] for one in got}) == 1
    assert len({one.body for one in got}) == 1
    assert [verify(one.body, one.headers, secret)["data"]["id"] for one in got] == [str(job_id)] * 3


@pytest.mark.parametrize(
    ("status", "ends", "code"),
    [
        (410, "failed", "callback_gone"),
        (500, "retrying", "callback_failed"),
        (404, "retrying", "callback_failed"),
        (302, "retrying", "callback_failed"),
    ],
)
def test_what_is_no_success_is_retried_or_a_dead_letter(
    dsn: str, db: Db, receiver: Receiver, secret: str, status: int, ends: str, code: str
) -> None:
    """410 Gone ends it; everything else waits for its backoff."""
    receiver.answers = [(status, {"location": "http://127.0.0.1/"})]
    with working(_registry(), dsn, queues=_QUEUES):
        job_id = _insert(db, receiver.url)
        found = _ends(db, job_id, ends)

    assert found == (ends, code)
    assert len(receiver.received) == 1


def test_a_host_without_a_secret_is_a_dead_letter(dsn: str, db: Db, receiver: Receiver) -> None:
    """Nothing is sent; the operator sees it among the failed jobs."""
    with working(_registry(), dsn, queues=_QUEUES):
        job_id = _insert(db, receiver.url)
        found = _ends(db, job_id, "failed")

    assert found == ("failed", "callback_host_unknown")
    assert receiver.received == []
    assert value(db, "select error_code from pgqueue.failed_jobs") == "callback_host_unknown"


def test_an_address_inside_is_a_dead_letter_even_with_a_secret(
    dsn: str, db: Db, receiver: Receiver, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator may allow a name whose owner then points it at 127.0.0.1."""
    monkeypatch.delenv("PGQUEUE_CALLBACK_NETWORKS")
    with working(_registry(), dsn, queues=_QUEUES):
        job_id = _insert(db, receiver.url)
        found = _ends(db, job_id, "failed")

    assert found == ("failed", "callback_refused")
    assert receiver.received == []


def test_a_header_that_is_no_trace_is_not_sent(
    dsn: str, db: Db, receiver: Receiver, secret: str
) -> None:
    """A producer writes headers; line breaks in them must not become headers of the request."""
    headers = json.dumps({"traceparent": f"{_TRACE}\r\nX-Injected: 1", "tracestate": "a\r\nb: c"})
    with working(_registry(), dsn, queues=_QUEUES):
        _insert(db, receiver.url, headers=headers)
        _insert(db, receiver.url, headers=json.dumps({"traceparent": _TRACE, "tracestate": "a\n"}))
        got = receiver.gets(2)
    names = [set(one.headers) & {"traceparent", "tracestate", "x-injected", "b"} for one in got]

    assert sorted(names, key=len) == [set(), {"traceparent"}]


def test_secrets_and_urls_are_not_logged(
    dsn: str,
    db: Db,
    receiver: Receiver,
    secret: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failing delivery names the host: the path and query may hold a token."""
    receiver.answers = [(500, {})]
    caplog.set_level("DEBUG")
    with working(_registry(), dsn, queues=_QUEUES):
        job_id = _insert(db, receiver.url)
        _ends(db, job_id, "retrying")
    said = caplog.text + str(column(db, "select error from pgqueue.attempts"))

    assert "127.0.0.1 answered 500" in said
    assert secret not in said
    assert "key=1" not in said
    assert "v1," not in said
