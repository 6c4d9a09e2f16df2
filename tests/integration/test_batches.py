"""Batches and signals from Python, through a worker, and from the command line."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from pgqueue import (
    AsyncClient,
    BadSignalToken,
    BatchNotFound,
    Client,
    InvalidArgument,
    JobContext,
    Registry,
    WaitFor,
    new_job,
)
from pgqueue.testing import run_job
from pgqueue.worker import Worker
from tests.support.cli import Cli
from tests.support.sqljobs import claim_this, column, insert, status, value

if TYPE_CHECKING:
    import psycopg

    Db = psycopg.Connection[Any]


def _work(dsn: str, registry: Registry) -> None:
    asyncio.run(Worker(registry, dsn=dsn, drain=True, concurrency=4).run())


def test_a_batch_of_jobs_that_add_jobs_ends_with_its_callback(dsn: str, db: Db) -> None:
    """Through a worker: two levels from inside; the callback knows the batch by its headers."""
    registry, told = Registry("batch"), []

    @registry.job("page")
    async def page(ctx: JobContext, depth: int = 0) -> None:
        if depth < 2:
            ctx.enqueue("page", {"depth": depth + 1}, same_batch=True)
        ctx.enqueue("beside")

    @registry.job("beside")
    def beside() -> None:
        pass

    @registry.job("over")
    async def over(ctx: JobContext) -> None:
        told.append((ctx.headers["batch_id"], ctx.headers["batch_event"]))

    with Client(dsn) as client:
        with client.batch("pages", on_success=new_job("over")) as batch:
            batch.enqueue("page")
            batch.enqueue_many([new_job("page", {"depth": 1})])
        _work(dsn, registry)
        _work(dsn, registry)
        seen = client.batch_status(batch.id)

    assert told == [(str(batch.id), "success")]
    assert (seen.status, seen.total, seen.succeeded, seen.percent) == ("succeeded", 5, 5, 100.0)
    assert seen.finished is True


def test_the_async_client_has_batches_too(dsn: str, db: Db) -> None:
    """The same methods; an exception in the block leaves the batch open."""

    async def scenario() -> list[str]:
        async with AsyncClient(dsn) as client:
            async with client.batch("a") as first:
                await first.enqueue("t")
                await first.enqueue_many([new_job("t")])
            with pytest.raises(ZeroDivisionError):
                async with client.batch("b") as second:
                    raise ZeroDivisionError
            return [(await client.batch_status(one.id)).status for one in (first, second)]

    assert asyncio.run(scenario()) == ["closed", "open"]
    assert value(db, "select count(*) from pgqueue.jobs where batch_id is not null") == 2


def test_a_batch_that_is_not_there_is_an_error_of_its_own(db: Db) -> None:
    """For looking, closing and adding; and same_batch is for handlers."""
    client = Client(db)
    for call in (client.batch_status, client.close_batch):
        with pytest.raises(BatchNotFound):
            call(uuid4())

    with pytest.raises(InvalidArgument, match="does not exist"):
        client.enqueue("t", batch_id=uuid4())
    with pytest.raises(InvalidArgument, match="batch_id"):
        client.enqueue("t", same_batch=True)  # type: ignore[call-arg]
    with pytest.raises(InvalidArgument, match="on_success"):
        client.open_batch(on_success=new_job("t", unique_key="k"))


@pytest.mark.parametrize("kind", ["task", "thread", "transactional"])
def test_a_handler_waits_for_a_signal_without_a_worker(dsn: str, db: Db, kind: str) -> None:
    """Its worker ends meanwhile; the next one finds what it was told, in the first attempt."""
    registry, runs = Registry("signals"), []

    def handle(ctx: JobContext) -> None:
        runs.append(ctx.attempt)
        approved = ctx.wait_for("approved", timeout=dt.timedelta(days=2))
        runs.append(approved.payload["by"])

    if kind == "thread":
        registry.job("order")(handle)
    else:

        @registry.job("order", transactional=kind == "transactional")
        async def order(ctx: JobContext) -> None:
            handle(ctx)

    with Client(dsn) as client:
        job_id = client.enqueue("order")
        _work(dsn, registry)
        waiting = client.status(job_id)
        told = client.signal(job_id, "approved", {"by": "Ann"}), client.signal(job_id, "approved")
        _work(dsn, registry)
        done = client.status(job_id)

    assert (waiting.status, waiting.reason, told) == ("blocked", "signal", (True, False))
    assert (runs, done.status) == ([1, 1, "Ann"], "succeeded")


def test_a_token_stands_for_a_signal(db: Db) -> None:
    """By itself; a forged one is refused."""
    client = Client(db)
    job_id = insert(db)
    db.execute("select pgqueue.pause_until(%s, %s, 'paid')", claim_this(db, job_id).owned)
    token = client.signal_token(job_id, "paid")
    with pytest.raises(BadSignalToken):
        client.signal_by_token(token[:-4] + "0000")

    assert client.signal_by_token(token) is True
    assert status(db, job_id) == "queued"


def test_a_handler_that_waits_is_tested_without_a_database() -> None:
    """run_job says what it waits for; told, it goes on."""
    registry = Registry("signals")

    @registry.job("order")
    def order(ctx: JobContext) -> object:
        return ctx.wait_for("paid", timeout=60, on_timeout="run").payload

    waits = run_job(order)
    paid = run_job(order, signals={"paid": 7})

    assert waits.status == "paused"
    assert waits.report == {
        "do": "pause_until", "signal": "paid", "on_timeout": "run", "timeout_seconds": 60.0,
    }  # fmt: skip
    assert (paid.status, paid.result) == ("succeeded", 7)


@pytest.mark.parametrize(
    "wrong", [{"signal": ""}, {"signal": "a b"}, {"signal": 1}, {"signal": "a", "timeout": -1},
              {"signal": "a", "on_timeout": "stop"}]
)  # fmt: skip
def test_a_wait_that_makes_no_sense_is_refused_where_it_is_raised(wrong: dict[str, Any]) -> None:
    """In the handler, with a message that says what."""
    with pytest.raises(InvalidArgument):
        WaitFor(**wrong)


def test_the_command_line_shows_and_closes_batches(db: Db, dsn: str) -> None:
    """List, show, close; a job by --batch, and one that does not exist."""
    cli = Cli(dsn)
    batch = Client(db).open_batch("nightly", on_success=new_job("over"))
    cli.text("enqueue", "t", "--batch", str(batch), "--deadline-at", "2100-01-01T00:00Z")
    (listed,) = cli.data("batches", "list")
    cli.text("batches", "close", str(batch))
    shown = cli.text("batches", "show", str(batch))
    missing = cli("batches", "show", str(UUID(int=1)))

    assert (listed["name"], listed["status"], listed["total"]) == ("nightly", "open", 1)
    assert "1, 1 waiting" in shown
    assert "closed" in shown
    assert missing.exit_code == 3


def test_the_command_line_sends_a_signal(db: Db, dsn: str) -> None:
    """The first counts; the second is told so."""
    cli = Cli(dsn)
    job_id = insert(db)
    db.execute("select pgqueue.pause_until(%s, %s, 'a')", claim_this(db, job_id).owned)
    told = [cli.text("signal", str(job_id), "a", '{"n": 1.50}') for _ in range(2)]

    assert ["before" in one for one in told] == [False, True]
    assert column(db, "select payload ->> 'n' from pgqueue.signals") == ["1.50"]
    assert status(db, job_id) == "queued"
