"""Jobs that POST a body to a URL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue.callback import verify
from tests.support.receiver import receiving
from tests.support.workers import attempts, enqueue, status, work_off

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pgqueue import Registry
    from tests.support.receiver import Receiver

    Database = psycopg.Connection[Any]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver on this machine, and a worker that may reach it."""
    with receiving() as receiver:
        monkeypatch.setenv("WEBHOOK_HOSTS", "elsewhere.example, 127.0.0.*")
        monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
        monkeypatch.setenv("PGQUEUE_CALLBACK_HTTP", "1")
        monkeypatch.setenv("PGQUEUE_CALLBACK_NETWORKS", "127.0.0.0/8")
        monkeypatch.setenv("PGQUEUE_CALLBACK_PORTS", str(receiver.port))
        yield receiver


def error(db: Database, job_id: Any) -> Any:
    """The code of the error that the job failed with."""
    row = db.execute(
        "select errors -> 0 ->> 'code' from pgqueue.finished where job_id = %s", (job_id,)
    ).fetchone()
    return row and row[0]


def test_a_body_arrives_signed(dsn: str, db: Database, app: Registry, receiver: Receiver) -> None:
    """The receiver checks it with the same function as callbacks, and knows a repeat by its id."""
    body = {"order": 17, "name": "Zoë"}
    job_id = enqueue(db, "webhook", url=receiver.url, body=body, headers={"X-Shop": "1"})

    work_off(app, dsn)

    (got,) = receiver.received
    assert status(db, job_id) == "succeeded"
    assert verify(got.body, got.headers, SECRET) == body
    assert (got.headers["webhook-id"], got.headers["x-shop"]) == (str(job_id), "1")


@pytest.mark.parametrize(
    ("answer", "becomes", "code"),
    [
        ((503, {}), "retrying", None),
        ((429, {"Retry-After": "120"}), "retrying", None),
        ((404, {}), "failed", "webhook_rejected"),
        ((302, {"Location": "http://127.0.0.1/"}), "failed", "webhook_rejected"),
    ],
)
def test_the_answer_decides(
    dsn: str,
    db: Database,
    app: Registry,
    receiver: Receiver,
    answer: tuple[int, dict[str, str]],
    becomes: str,
    code: str | None,
) -> None:
    """Trouble is tried again, when the receiver says; what it will never take is not."""
    receiver.answers = [answer]
    job_id = enqueue(db, "webhook", url=receiver.url, body=1)

    work_off(app, dsn)

    assert (status(db, job_id), error(db, job_id)) == (becomes, code)
    assert len(receiver.received) == 1
    if "Retry-After" in answer[1]:
        due = db.execute(
            "select due_at > clock_timestamp() + interval '100 seconds' from pgqueue.scheduled"
        ).fetchone()
        assert due == (True,)


@pytest.mark.parametrize(
    "payload",
    [
        {"url": "https://unknown.example/"},
        {"url": "http://169.254.169.254/latest"},
        {"url": "file:///etc/passwd"},
        {"url": "http://[::1"},
        {"url": ""},
        {"url": "HERE", "headers": {"X\r\nEvil": "1"}},
        {"url": "HERE", "headers": {"X": "1\r\nEvil: 1"}},
        {"url": "HERE", "headers": {"Host": "elsewhere"}},
        {"url": "HERE", "headers": {"webhook-signature": "v1,x"}},
        {"url": "http://user:password@127.0.0.1/"},
    ],
    ids=repr,
)
def test_what_is_not_allowed_is_not_sent(
    dsn: str, db: Database, app: Registry, receiver: Receiver, payload: dict[str, Any]
) -> None:
    """It fails at once with a code; nothing goes out."""
    payload["url"] = payload["url"].replace("HERE", receiver.url)
    job_id = enqueue(db, "webhook", **payload)

    work_off(app, dsn)

    assert (status(db, job_id), error(db, job_id)) == ("failed", "webhook_refused")
    assert receiver.received == []


def test_no_host_is_allowed_until_somebody_says_so(
    dsn: str, db: Database, app: Registry, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without WEBHOOK_HOSTS every webhook is refused."""
    monkeypatch.delenv("WEBHOOK_HOSTS")
    job_id = enqueue(db, "webhook", url=receiver.url)

    work_off(app, dsn)

    assert error(db, job_id) == "webhook_refused"


def test_a_receiver_that_failed_once_gets_the_same_message_again(
    dsn: str, db: Database, app: Registry, receiver: Receiver
) -> None:
    """The same webhook-id and body, another attempt number."""
    receiver.answers = [(500, {}), (200, {})]
    job_id = enqueue(db, "webhook", url=receiver.url, body={"a": 1})
    work_off(app, dsn)
    db.execute("select pgqueue.reschedule(%s, null)", (job_id,))
    work_off(app, dsn)

    first, second = receiver.received
    assert (status(db, job_id), attempts(db, job_id)) == ("succeeded", ["retrying"])
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert json.loads(first.body) == json.loads(second.body) == {"a": 1}
    assert (first.headers["webhook-attempt"], second.headers["webhook-attempt"]) == ("1", "2")
