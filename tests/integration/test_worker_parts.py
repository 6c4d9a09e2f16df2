"""The worker's small parts, at the moments when something is taken away from them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import JobContext, Registry
from pgqueue.connection import endpoint
from pgqueue.worker import child, executor, frames, link, messages
from pgqueue.worker.doorbell import Doorbell
from pgqueue.worker.link import Link, Outages
from pgqueue.worker.processes import Processes
from tests.support.wait import eventually
from tests.support.workers import enqueue, reaches, working

if TYPE_CHECKING:
    import psycopg

    Database = psycopg.Connection[Any]

DEADLINE_SECONDS = 20.0


def test_a_dead_doorbell_connection_is_watched_no_more(dsn: str, db: Database) -> None:
    """The next socket that gets its number must not inherit its entry in the loop."""

    async def lose() -> tuple[bool, bool]:
        loop = asyncio.get_running_loop()
        bell = Doorbell(
            endpoint(dsn, application_name="pgqueue doorbell test"),
            ["default"],
            outages=Outages("test"),
            on_ring=lambda: None,
            on_cancel=lambda _: None,
        )
        await bell.ping()
        number = bell._fd
        assert number is not None
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'pgqueue doorbell test'"
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not bell.lost:  # noqa: ASYNC110  # it has no event for this
                await asyncio.sleep(0.01)
        lost, watched = bell.lost, loop.remove_reader(number)
        bell.close()
        return lost, watched

    assert asyncio.run(lose()) == (True, False)


def test_a_ring_that_comes_with_the_answer_of_rest_is_heard(dsn: str, db: Database) -> None:
    """It names a place that the worker knows only from that answer."""
    (source,) = db.execute("select pg_get_functiondef('pgqueue.rest'::regproc)").fetchall()[0]
    rings = "perform pg_notify('pgqueue', 'ring ' || queue_hash); return next;"
    db.execute(source.replace("return next;", rings))

    async def lie_down() -> tuple[bool, bool]:
        bell = Doorbell(
            endpoint(dsn, application_name="test"),
            ["default"],
            outages=Outages("test"),
            on_ring=lambda: None,
            on_cancel=lambda _: None,
        )
        resting = await bell.rest()
        heard = (resting, bell.rung)
        bell.close()
        return heard

    assert asyncio.run(lie_down()) == (True, True)


def test_a_child_whose_start_is_cancelled_is_reaped(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled before anybody knew of it, it would stay behind as a zombie."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remember(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **options))
        return started[-1]

    async def cancelled(**_: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr(subprocess, "Popen", remember)
    monkeypatch.setattr(asyncio, "open_connection", cancelled)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Processes(endpoint(dsn), worker="test")._start())
    assert [process.returncode is not None for process in started] == [True]


def test_messages_of_several_threads_of_a_child_do_not_mix() -> None:
    """Each arrives whole, though each takes several writes to the socket."""
    ours, theirs = socket.socketpair()
    threads, each, text = 4, 25, "x" * 300_000
    voice = child._Voice(theirs)

    def talk() -> None:
        for _ in range(each):
            voice.report_progress(50, text)

    with ours, theirs:
        ours.settimeout(DEADLINE_SECONDS)
        talking = [threading.Thread(target=talk, daemon=True) for _ in range(threads)]
        for thread in talking:
            thread.start()
        heard = [frames.receive(ours) for _ in range(threads * each)]
        for thread in talking:
            thread.join(DEADLINE_SECONDS)

    assert heard == [("progress", 50, text)] * (threads * each)


def test_a_handler_that_lost_its_job_and_does_not_stop_is_given_up(
    dsn: str, db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its progress was refused, it swallows its cancellation: that is said, as it is otherwise."""
    monkeypatch.setattr(executor, "STUBBORN_SECONDS", 0.1)
    monkeypatch.setattr(messages, "FLUSH_SECONDS", 0.05)
    began, go = threading.Event(), threading.Event()
    registry = Registry()

    @registry.job
    async def stubborn(ctx: JobContext) -> None:
        while ctx.attempt == 1 and not go.is_set():
            ctx.progress(50, "still here")
            began.set()
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    with working(registry, dsn):
        job_id = enqueue(db, "stubborn")
        assert began.wait(DEADLINE_SECONDS)
        db.execute("update pgqueue.running set deadline_at = '2001-01-01'")
        db.execute("select pgqueue.rescue()")
        eventually(lambda: "handler does not stop" in caplog.text, what="the worker says so")
        go.set()
        reaches(db, job_id, "succeeded")

    assert "another attempt owns the job" in caplog.text


def test_a_part_of_maintenance_that_fails_is_logged_once(
    dsn: str, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """maintain() goes on and warns, each second; the worker says so, and not each second."""
    db.execute("create sequence public.rounds")
    db.execute("grant usage on sequence public.rounds to public")
    db.execute(
        "create or replace function pgqueue.rescue(p_limit integer default 1000)"
        " returns bigint language plpgsql as $$ begin"
        " perform nextval('public.rounds'); raise 'out of order'; end $$"
    )
    with working(Registry(), dsn):
        eventually(
            lambda: db.execute("select last_value >= 3 from public.rounds").fetchall() == [(True,)]
        )

    assert "pgqueue.rescue() failed: out of order" in caplog.text
    assert caplog.text.count("database warning") == 1


def test_outages_before_the_first_connection_are_called_waiting(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said again after WAITING_SECONDS only; afterwards each outage is said once."""
    caplog.set_level("INFO")
    outages = Outages("test")
    for _ in range(3):
        outages.begin("control", OSError("refused"))
    monkeypatch.setattr(link, "WAITING_SECONDS", 0.0)
    outages.begin("control", OSError("refused"))
    outages.end("control")
    for _ in range(3):
        outages.begin("control", OSError("refused"))
    outages.end("control")

    names = [getattr(record, "pgqueue_event", "") for record in caplog.records]
    assert names == [
        "waiting for the database",
        "waiting for the database",
        "database reached",
        "database connection lost",
        "database connection back",
    ]


def test_a_connection_found_after_waiting_ends_the_outage(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise the next outage would not be noticed as one."""

    async def wait_and_open() -> None:
        control = Link(endpoint(dsn), role="control", outages=Outages("test"))
        control.lost(OSError("refused"))
        await control.open()
        control.drop()
        control.lost(OSError("refused"))

    asyncio.run(wait_and_open())

    assert caplog.text.count("database connection lost") == 1
