"""Limits with real workers and from the command line: nobody sleeps over a job that may run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from pgqueue import Client, Registry, WorkerSettings
from pgqueue.worker import Worker
from tests.support.cli import Cli
from tests.support.sqljobs import insert, insert_many, value

if TYPE_CHECKING:
    from tests.support.sqljobs import Db


@pytest.fixture
def cli(dsn: str) -> Cli:
    """The command line on the test's database."""
    return Cli(dsn)


def _run_until(workers: list[Worker], db: Db, count: int, *, seconds: float = 30.0) -> float:
    """Run *workers* until *count* jobs have finished; how long it took."""

    async def run() -> float:
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        began = time.monotonic()
        while value(db, "select count(*) from pgqueue.finished") < count:
            assert time.monotonic() - began < seconds, "somebody sleeps over a job"
            await asyncio.sleep(0.02)
        took = time.monotonic() - began
        for worker in workers:
            worker.stop()
        await asyncio.gather(*tasks)
        return took

    return asyncio.run(run())


def test_workers_hand_a_gate_over_without_waiting_for_a_poll(dsn: str, db: Db) -> None:
    """40 jobs of one at a time, in two queues with a worker each, which poll every 30 s."""
    registry = Registry("limited")
    running, most = 0, 0

    @registry.job("t", max_running=1)
    async def handle() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    workers = [
        Worker(registry, dsn=dsn, settings=WorkerSettings(queues=(queue,), poll_seconds=30.0))
        for queue in ("a", "b")
    ]
    insert_many(db, 20, queue="a")
    insert_many(db, 20, queue="b")
    took = _run_until(workers, db, 40)

    assert most == 1
    assert took < 15.0


def test_a_rate_is_kept_and_used_up_by_workers_that_sleep_in_between(dsn: str, db: Db) -> None:
    """40 jobs at 20 per second: about 2 s, never less than the rate allows."""
    registry = Registry("rated")
    registry.job("t", rate="20/second")(_nothing)
    workers = [
        Worker(registry, dsn=dsn, settings=WorkerSettings(poll_seconds=30.0)) for _ in range(2)
    ]
    insert_many(db, 40)
    took = _run_until(workers, db, 40)

    assert took >= (40 - 5) / 20 - 0.1
    assert took < 12.0


def test_ordered_jobs_enqueued_by_the_client_run_in_order(dsn: str, db: Db) -> None:
    """One customer's, with eight slots free."""
    registry = Registry("ordered")
    seen: list[int] = []

    @registry.job("t")
    async def handle(n: int) -> None:
        await asyncio.sleep(0.002 * (n % 3))
        seen.append(n)

    with Client(dsn) as client:
        for n in range(20):
            client.enqueue("t", {"n": n}, ordering_key="customer 7", concurrency_key="7")
    _run_until([Worker(registry, dsn=dsn, settings=WorkerSettings(concurrency=8))], db, 20)

    assert seen == list(range(20))


def test_the_environment_changes_a_declared_limit_and_an_operators_word_stays(
    dsn: str, db: Db, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T_MAX_RUNNING=3 for the handler t; `pgqueue limits set` beats both."""
    registry = Registry("limited")
    registry.job("t", max_running=1, max_running_per_key=2, rate="100/minute")(_nothing)
    monkeypatch.setenv("T_MAX_RUNNING", "3")
    asyncio.run(Worker(registry, dsn=dsn, drain=True).run())
    declared = cli.data("limits", "list")
    cli.text("limits", "set", "job_type", "t", "--max-running", "9")
    asyncio.run(Worker(registry, dsn=dsn, drain=True).run())

    assert [(one["kind"], one["max_running"], one["rate_jobs"]) for one in declared] == [
        ("job_type", 3, 100),
        ("key", 2, None),
    ]
    assert [one["max_running"] for one in cli.data("limits", "list")] == [9, 2]


def test_a_limit_is_set_listed_and_dropped(cli: Cli, db: Db) -> None:
    """By the command line alone."""
    cli.text("limits", "set", "queue", "mail", "--rate", "5/30 seconds", "--description", "theirs")
    insert(db, queue="mail")
    listed = cli.text("limits", "list")
    dropped = cli.text("limits", "drop", "queue", "mail")

    assert "mail" in listed
    assert dropped == "limit of queue mail dropped\n"
    assert cli.data("limits", "list") == []


async def _nothing() -> None:
    """Do nothing."""
