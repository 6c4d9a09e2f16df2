from __future__ import annotations

import asyncio
import datetime as dt
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from pgqueue import calls
from pgqueue.client import AsyncClient, Client
from pgqueue.connection import Endpoint
from pgqueue.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    IllegalStatus,
    InvalidArgument,
    JobNotFound,
    SchemaMismatch,
    UniqueKeyTaken,
    WaitTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.calls import Claimed
    from tests.conftest import Connect

NOWHERE = UUID(int=1)


@dataclass(frozen=True)
class Order:
    """A payload."""

    id: UUID
    due: dt.date


@pytest.fixture
def client(dsn: str) -> Iterator[Client]:
    """A client of the test's database."""
    with Client(dsn) as opened:
        yield opened


def one(db: psycopg.Connection[Any], query: str, *params: object) -> Any:
    """Return the first value of the first row."""
    row = db.execute(query.encode(), params).fetchone()
    assert row is not None
    return row[0]


def claim_one(db: psycopg.Connection[Any]) -> tuple[int, Claimed]:
    """Claim a job as a worker would."""
    register = calls.register_worker(
        "test",
        queues=["default"],
        job_types=None,
        lease=dt.timedelta(seconds=60),
        instance=uuid.uuid4(),
    )
    worker = calls.run(db, register)
    (job,) = calls.run(db, calls.claim(worker, queues=["default"], limit=1))
    return worker, job


def test_every_option_reaches_the_job(client: Client, db: psycopg.Connection[Any]) -> None:
    """What enqueue says is what the row holds."""
    later = dt.datetime(2031, 5, 4, 3, 2, 1, tzinfo=dt.UTC)
    job_id = uuid.uuid4()
    parent = client.enqueue("parent")
    batch = client.open_batch()

    served = client.enqueue(
        "create_orders",
        Order(NOWHERE, dt.date(2026, 1, 2)),
        job_id=job_id,
        queue="imports",
        priority=2,
        run_at=later,
        expires_at=later + dt.timedelta(days=1),
        max_attempts=3,
        timeout=dt.timedelta(minutes=5),
        idempotency_key="i",
        unique_key="u",
        tenant_id="t",
        headers={"traceparent": "x"},
        notify=True,
        feed="f",
        callback_url="https://a.example/",
        depends_on=[parent],
        on_parent_failure="run",
        batch_id=batch,
        deadline_at=later + dt.timedelta(days=2),
        concurrency_key="customer",
        ordering_key="order",
        ordering_on_failure="block",
    )

    with db.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("select * from pgqueue.jobs where id = %s", (job_id,)).fetchone()
    assert row is not None
    assert served == job_id
    assert {key: row[key] for key in row if key not in {"created_at", "created_by"}} == {
        "notify": True,
        "feed": "f",
        "callback_url": "https://a.example/",
        "callback_of": None,
        "depends_on": [parent],
        "on_parent_failure": "run",
        "batch_id": batch,
        "deadline_at": later + dt.timedelta(days=2),
        "concurrency_key": "customer",
        "ordering_key": "order",
        "ordering_on_failure": "block",
        "id": job_id,
        "job_type": "create_orders",
        "queue": "imports",
        "priority": 2,
        "payload": {"id": str(NOWHERE), "due": "2026-01-02"},
        "run_at": later,
        "expires_at": later + dt.timedelta(days=1),
        "max_attempts": 3,
        "timeout": dt.timedelta(minutes=5),
        "idempotency_key": "i",
        "unique_key": "u",
        "tenant_id": "t",
        "headers": {"traceparent": "x"},
    }


def test_a_delay_counts_on_the_servers_clock(client: Client, db: psycopg.Connection[Any]) -> None:
    """The producer's clock may be off."""
    client.enqueue("a", delay=3600)

    assert 3590 < one(db, "select extract(epoch from run_at - created_at) from pgqueue.jobs") < 3610
    assert client.status(one(db, "select id from pgqueue.jobs")).status == "scheduled"


def test_a_job_enqueued_on_a_connection_commits_with_its_transaction(
    client: Client, connect: Connect
) -> None:
    """Both the business row and the job, or neither; seen by others only after the commit."""
    own = connect(autocommit=False)

    lost = client.enqueue("a", connection=own)
    own.rollback()
    kept = client.enqueue("a", connection=own)
    (many,) = client.enqueue_many([calls.new_job("b")], connection=own)
    with pytest.raises(JobNotFound):
        client.status(kept)
    own.commit()

    assert client.status(kept).status == "queued"
    assert client.status(many.id).status == "queued"
    with pytest.raises(JobNotFound):
        client.status(lost)


def test_a_connection_of_the_caller_may_have_any_row_factory(connect: Connect) -> None:
    """Rows are decoded by what the call says."""
    own = connect()
    own.row_factory = dict_row
    client = Client(own)

    assert client.status(client.enqueue("a")).job_type == "a"
    assert client.enqueue_many([calls.new_job("a")])[0].inserted


def test_a_pool_of_the_caller_is_used_and_stays_open(dsn: str) -> None:
    """Who opens closes."""
    with ConnectionPool(dsn, kwargs={"autocommit": True}, min_size=1, open=True) as pool:
        with Client(pool) as client:
            job_id = client.enqueue("a")
        with pool.connection() as conn:
            assert one(conn, "select id from pgqueue.jobs") == job_id


def test_many_jobs_are_answered_in_their_order_with_who_serves_them(client: Client) -> None:
    """A duplicate is answered with the id of the job that it duplicates."""
    first = client.enqueue("a", idempotency_key="k")

    answers = client.enqueue_many(
        [
            calls.new_job("b", {"n": 1}),
            calls.new_job("a", idempotency_key="k"),
            calls.new_job("c", Order(NOWHERE, dt.date(2026, 1, 2)), priority=0),
        ]
    )

    assert [answer.inserted for answer in answers] == [True, False, True]
    assert answers[1].id == first
    assert [client.status(answer.id).job_type for answer in answers] == ["b", "a", "c"]


def test_on_duplicate_replaces_the_payload_of_the_waiting_job(
    client: Client, db: psycopg.Connection[Any]
) -> None:
    """The same job serves both requests."""
    first = client.enqueue("a", {"n": 1}, unique_key="k")
    second = client.enqueue("a", {"n": 2}, unique_key="k", on_duplicate="replace")

    assert first == second
    assert one(db, "select payload from pgqueue.jobs") == {"n": 2}


def test_repeating_a_call_whose_reply_was_lost_enqueues_nothing_more(
    connect: Connect, db: psycopg.Connection[Any]
) -> None:
    """The id is drawn before the call."""
    own = connect()
    call = calls.enqueue("a", {"n": 1}, unique_key="k")

    assert calls.run(own, call) == calls.run(own, call)
    assert one(db, "select count(*) from pgqueue.jobs") == 1


def test_a_restart_of_the_server_is_not_noticed_by_producers(
    client: Client, db: psycopg.Connection[Any]
) -> None:
    """The connections that the pool keeps are dead; calls that may be repeated are."""
    before = client.enqueue("a")
    db.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
        " and application_name = 'pgqueue'"
    )

    after = client.enqueue("a")

    assert before != after
    assert client.status(before).status == client.status(after).status == "queued"


def test_a_client_is_shared_by_threads(client: Client, db: psycopg.Connection[Any]) -> None:
    """More threads than connections: they wait for each other."""
    threads = [
        threading.Thread(target=lambda: [client.enqueue("a") for _ in range(5)]) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert one(db, "select count(*) from pgqueue.jobs") == 60


def test_wait_returns_when_the_job_has_finished(
    client: Client, db: psycopg.Connection[Any]
) -> None:
    """With result, created rows, errors and metrics."""
    job_id = client.enqueue("a")

    def work() -> None:
        worker, job = claim_one(db)
        with pytest.raises(WaitTimeout, match="still running"):
            client.wait(job_id, timeout=0.05)
        outcome = (
            '{"result": {"n": 1}, "created": [["Order", "7"]], "metrics": {"items_processed": 2},'
            ' "errors": [{"code": "c", "message": "m", "item": 1, "retryable": false}]}'
        )
        answers = calls.run(db, calls.report([job.job_id], [job.token], [outcome]))
        assert [answer.status for answer in answers] == ["partial"]
        calls.run(db, calls.stop_worker(worker))

    thread = threading.Thread(target=work)
    thread.start()
    seen = client.wait(job_id, timeout=30)
    thread.join(30)

    assert (seen.status, seen.success, seen.finished) == ("partial", True, True)
    assert (seen.result, seen.metrics) == ({"n": 1}, {"items_processed": 2})
    assert [type(span) for span in (seen.wait_seconds, seen.run_seconds)] == [float, float]
    assert seen.created == [{"entity_type": "Order", "entity_id": "7"}]
    assert [error["code"] for error in seen.errors] == ["c"]


def test_a_result_that_python_cannot_load_does_not_hide_its_job(
    client: Client, db: psycopg.Connection[Any]
) -> None:
    """PostgreSQL stores integers of 5,000 digits."""
    job_id = client.enqueue("a")
    worker, job = claim_one(db)
    digits = "9" * 5000
    calls.run(db, calls.complete(job.job_id, job.token, result=digits))
    calls.run(db, calls.stop_worker(worker))

    assert client.status(job_id).result == digits


def test_waiting_for_a_job_that_is_not_there_ends_at_once(client: Client) -> None:
    """It may have been removed by retention."""
    with pytest.raises(JobNotFound, match=str(NOWHERE)):
        client.wait(NOWHERE, timeout=30)


def test_people_move_jobs_through_the_client(client: Client) -> None:
    """Each method is one function of the schema, with its errors."""
    job_id = client.enqueue("a", unique_key="k", run_at=dt.datetime(2031, 1, 1, tzinfo=dt.UTC))

    assert client.status(job_id).status == "scheduled"
    client.reprioritise(job_id, 0)
    client.reschedule(job_id)
    assert (client.status(job_id).status, client.status(job_id).priority) == ("queued", 0)
    assert client.why_waiting(job_id)
    assert client.cancel(job_id, reason="no more") == "cancelled"
    assert client.status(job_id).reason == "no more"
    with pytest.raises(IllegalStatus):
        client.reschedule(job_id)
    client.retry(job_id)
    assert client.status(job_id).status == "queued"
    assert client.cancel(job_id) == "cancelled"
    client.enqueue("a", unique_key="k")
    with pytest.raises(UniqueKeyTaken):
        client.retry(job_id)
    assert client.redrive() == 0
    assert client.purge_queue("default") == 1


def test_a_paused_queue_and_a_paused_type_hand_out_nothing(
    client: Client, db: psycopg.Connection[Any]
) -> None:
    """Until they are resumed."""
    client.enqueue("a")
    client.pause_queue("default", reason="r")
    client.pause_job_type("a")

    with pytest.raises(ValueError, match="not enough values"):
        claim_one(db)
    client.resume_queue("default")
    with pytest.raises(ValueError, match="not enough values"):
        claim_one(db)
    client.resume_job_type("a")
    worker, _ = claim_one(db)
    assert calls.run(db, calls.stop_worker(worker)) == 1


@pytest.mark.parametrize(
    ("job_type", "options", "message"),
    [
        ("", {}, "jobs_job_type_check"),
        ("x" * 101, {}, "jobs_job_type_check"),
        ("a\0b", {}, "NUL"),
        ("a", {"priority": 9}, "jobs_priority_check"),
        ("a", {"queue": ""}, "jobs_queue_check"),
        ("a", {"unique_key": "k" * 256}, "jobs_unique_key_check"),
        ("a", {"max_attempts": 0}, "jobs_max_attempts_check"),
    ],
)
def test_what_the_database_refuses_is_named(
    client: Client, db: psycopg.Connection[Any], job_type: str, options: Any, message: str
) -> None:
    """By the constraint, and nothing is stored."""
    with pytest.raises(InvalidArgument, match=message):
        client.enqueue(job_type, **options)

    assert one(db, "select count(*) from pgqueue.jobs") == 0


def test_a_wrong_database_is_an_error_at_once_with_its_reason(empty_dsn: str) -> None:
    """A pool would try for ever and keep the reason to itself."""
    with pytest.raises(SchemaMismatch, match="pgqueue migrate"):
        Client(empty_dsn).open()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Client("nonsense")


def test_threads_that_wait_for_a_dead_server_wait_once() -> None:
    """Five callers share one attempt of 2 s and its error; in turn they would take 10."""
    failures: list[DatabaseUnavailable] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        client = Client(f"host=127.0.0.1 port={port} connect_timeout=2", retry_seconds=0)

        def call() -> None:
            try:
                client.status(NOWHERE)
            except DatabaseUnavailable as exc:
                failures.append(exc)

        threads = [threading.Thread(target=call) for _ in range(5)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    assert len(failures) == 5
    assert time.monotonic() - began < 6


def test_tasks_that_wait_for_a_dead_server_wait_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt for all who asked before it failed, another for who asks later."""
    attempts = []

    async def fail(_: Endpoint) -> None:
        attempts.append(1)
        for _turn in range(3):
            await asyncio.sleep(0)
        raise DatabaseUnavailable("no server")

    monkeypatch.setattr(Endpoint, "connect_async", fail)

    async def live() -> list[int]:
        client = AsyncClient("host=127.0.0.1", retry_seconds=0)
        counts = []
        for _ in range(2):
            answers = await asyncio.gather(
                *(client.status(NOWHERE) for _ in range(5)), return_exceptions=True
            )
            assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 5
            counts.append(len(attempts))
        return counts

    assert asyncio.run(live()) == [1, 2]


def test_the_asynchronous_client_has_the_same_methods() -> None:
    """Names and parameters."""

    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)


def test_the_asynchronous_client_does_the_same(dsn: str) -> None:
    """From enqueue to wait, and in the caller's transaction."""

    async def live() -> list[str]:
        async with AsyncClient(dsn) as client:
            first = await client.enqueue("a", {"n": 1}, unique_key="k")
            seen = [(await client.status(first)).status]
            own = await psycopg.AsyncConnection.connect(dsn)
            async with own:
                second = await client.enqueue("b", connection=own)
            (third,) = await client.enqueue_many([calls.new_job("c")])
            with pytest.raises(WaitTimeout):
                await client.wait(second, timeout=0.03)
            for job_id in (first, second, third.id):
                seen.append(await client.cancel(job_id, reason="r"))
                seen.append((await client.wait(job_id, timeout=5)).status)
            with pytest.raises(JobNotFound):
                await client.cancel(NOWHERE)
            await asyncio.gather(*(client.enqueue("d") for _ in range(20)))
            await client.pause_queue("default")
            await client.resume_queue("default")
            assert await client.purge_queue("default") == 20
        return seen

    assert asyncio.run(live()) == ["queued"] + ["cancelled"] * 6
