"""wait_for(): LISTEN, read, wait; and looking, where nothing is heard."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from pgqueue import calls
from pgqueue.client import AsyncClient, Client
from pgqueue.errors import JobNotFound, WaitTimeout
from tests.support.sqljobs import claim_this, run_one, value
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.sqljobs import Claimed, Db

NOWHERE = UUID("0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a")


def _listens(db: Db) -> bool:
    """Whether somebody's last statement in this database was the LISTEN of wait_for."""
    return bool(
        value(
            db,
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and query = 'listen pgqueue_finished' and state = 'idle'",
        )
    )


def _finish(connect: Connect, job: Claimed) -> threading.Thread:
    """Complete the job as soon as somebody listens."""
    own = connect()

    def work() -> None:
        eventually(lambda: _listens(own), what="somebody listens")
        own.execute("select pgqueue.complete(%s, %s, p_result => '7')", job.owned)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.fixture
def job(db: Db) -> Claimed:
    """One that runs and asked for a notification."""
    return run_one(db, notify=True)


def test_a_notified_job_is_heard_before_it_is_looked_for(
    dsn: str, connect: Connect, job: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With looks an hour apart, only the notification can have ended the wait."""
    monkeypatch.setattr(calls.job_status, "_PAUSE_SECONDS_MIN", 3600.0)
    monkeypatch.setattr(calls.job_status, "_PAUSE_SECONDS_MAX", 3600.0)
    with Client(dsn) as client:
        thread = _finish(connect, job)
        seen = client.wait_for(job.job_id, timeout=60)
        thread.join(30)

    assert (seen.status, seen.result) == ("succeeded", 7)


def test_the_async_client_hears_it_too(
    dsn: str, connect: Connect, job: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, for asyncio."""
    monkeypatch.setattr(calls.job_status, "_PAUSE_SECONDS_MIN", 3600.0)
    monkeypatch.setattr(calls.job_status, "_PAUSE_SECONDS_MAX", 3600.0)

    async def wait() -> Any:
        async with AsyncClient(dsn) as client:
            return await client.wait_for(job.job_id, timeout=60)

    thread = _finish(connect, job)
    seen = asyncio.run(wait())
    thread.join(30)

    assert (seen.status, seen.result) == ("succeeded", 7)


def test_a_job_that_finished_before_is_returned_at_once(dsn: str, db: Db, job: Claimed) -> None:
    """LISTEN comes before the look, so nothing falls between the two."""
    db.execute("select pgqueue.complete(%s, %s)", job.owned)
    with Client(dsn) as client:
        assert client.wait_for(job.job_id, timeout=5).status == "succeeded"


@pytest.mark.parametrize("pooler", [False, True], ids=["direct", "pooler"])
def test_a_job_that_did_not_ask_is_found_by_looking(dsn: str, db: Db, *, pooler: bool) -> None:
    """And behind a pooler, where LISTEN does not work, every job is."""
    quiet = run_one(db, notify=pooler)
    thread = threading.Timer(0.2, db.execute, ("select pgqueue.complete(%s, %s)", quiet.owned))
    with Client(dsn, pooler=pooler) as client:
        thread.start()
        seen = client.wait_for(quiet.job_id, timeout=30)
        thread.join(30)

    assert seen.status == "succeeded"


def test_a_forged_notification_ends_no_wait(dsn: str, connect: Connect, job: Claimed) -> None:
    """Anybody can NOTIFY: it costs a look, and the look says that the job still runs."""
    own = connect()

    def forge() -> None:
        eventually(lambda: _listens(own), what="somebody listens")
        own.execute("select pg_notify('pgqueue_finished', %s)", (str(job.job_id),))
        own.execute("select pg_notify('pgqueue_finished', 'drop table')")

    thread = threading.Thread(target=forge)
    with Client(dsn) as client:
        thread.start()
        with pytest.raises(WaitTimeout):
            client.wait_for(job.job_id, timeout=1.5)
        thread.join(30)


def test_a_broken_listener_is_a_look_per_second(
    dsn: str, connect: Connect, db: Db, job: Claimed
) -> None:
    """The connection that listens is cut; the wait goes on and ends."""
    own = connect()

    def cut() -> None:
        eventually(lambda: _listens(own), what="somebody listens")
        own.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and query = 'listen pgqueue_finished'"
        )
        own.execute("select pgqueue.complete(%s, %s)", job.owned)

    thread = threading.Thread(target=cut)
    with Client(dsn) as client:
        thread.start()
        seen = client.wait_for(job.job_id, timeout=30)
        thread.join(30)

    assert seen.status == "succeeded"


def test_waiting_for_what_is_not_there_ends_at_once(dsn: str) -> None:
    """And what does not finish ends at the deadline."""
    with Client(dsn) as client:
        with pytest.raises(JobNotFound):
            client.wait_for(NOWHERE, timeout=30)
        began = time.monotonic()
        with pytest.raises(WaitTimeout):
            client.wait_for(client.enqueue("t"), timeout=0.3)

    assert time.monotonic() - began < 10


def test_a_feed_is_read_through_the_client(dsn: str, db: Db) -> None:
    """Take, acknowledge, gone."""
    with Client(dsn) as client:
        job_id = client.enqueue("t", feed="shop", idempotency_key="order-7")
        job = claim_this(db, job_id)
        db.execute("select pgqueue.complete(%s, %s, p_result => '7')", job.owned)
        (found,) = client.take_completions("shop", 10, lease=30)
        acknowledged = client.ack_completions("shop", [found.completion_id])

        assert (found.job_id, found.status, found.result, found.taken) == (
            job_id,
            "succeeded",
            7,
            1,
        )
        assert found.idempotency_key == "order-7"
        assert acknowledged == 1
        assert client.take_completions("shop") == []
