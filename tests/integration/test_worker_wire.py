"""Calls straight through libpq: they say what a cursor says, and every one of them ends."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from pgqueue import DatabaseUnavailable, calls
from pgqueue.calls import run
from pgqueue.calls.claimed import text_array
from pgqueue.connection import endpoint
from pgqueue.worker.link import Link, Outages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Database = psycopg.Connection[Any]

LEASE = dt.timedelta(minutes=1)


def asked(sql: str, *params: object) -> calls.Call[list[Any]]:
    """A call that goes over the wire, and answers with its rows."""
    return calls.Call(sql, params, list, raw=True)


def over_a_link(dsn: str, steps: Callable[[Link], Awaitable[Any]]) -> Any:
    """What *steps* return."""

    async def take() -> Any:
        link = Link(endpoint(dsn), role="test", outages=Outages("test", quiet=True))
        try:
            return await steps(link)
        finally:
            link.drop()

    return asyncio.run(take())


def registered(db: Database) -> int:
    """A worker."""
    return run(
        db,
        calls.register_worker(
            "w", queues=["default"], job_types=None, lease=LEASE, instance=uuid4()
        ),
    )


def test_a_batch_is_claimed_and_reported_over_the_wire(dsn: str, db: Database) -> None:
    """Half of it with results, one of those refused: more than one read and one write each."""
    worker = registered(db)
    db.execute(
        "insert into pgqueue.jobs (job_type, payload)"
        " select 't', jsonb_build_object('word', repeat('ž', 20000)) from generate_series(1, 200)"
    )

    async def work(link: Link) -> Any:
        claim = calls.claim(worker, queues=["default"], limit=200)
        claimed = await link.call(claim)
        results = [None, '{"result": "%s"}' % ("ž" * 40_000)]
        outcomes = [*(results * 100)[:-1], '{"result": "\\u0000"}']
        keys, tokens = [job.key for job in claimed], [job.token for job in claimed]
        exchange = calls.exchange(
            worker,
            queues=["default"],
            limit=1,
            floors=[0, 0, 0, 0],
            job_ids=keys,
            tokens=tokens,
            outcomes=outcomes,
        )
        return claimed, await link.call(exchange)

    claimed, answer = over_a_link(dsn, work)
    statuses = db.execute(
        "select status, length(result #>> '{}'), count(*) from pgqueue.finished group by 1, 2"
    ).fetchall()

    assert all(len(job.payload) > 20_000 for job in claimed)
    assert answer.claimed == []
    assert [(one.job_id, one.status) for one in answer.reported if one.status == "failed"] == [
        (claimed[-1].job_id, "failed")
    ]
    assert sorted(statuses, key=str) == [
        ("failed", None, 1),
        ("succeeded", 40_000, 99),
        ("succeeded", None, 100),
    ]


def test_a_parameter_arrives_as_it_was_sent(dsn: str) -> None:
    """Texts with every kind of character, nulls, an empty array, 30 MB."""
    texts = ["", '{"a,b"}', "\\x", "null", "ž\n\t'", None]
    long = "x" * 30_000_000

    async def ask(link: Link) -> Any:
        return await link.call(
            asked(
                "select %s::text[], %s::text[], %s::bigint, %s::text, length(%s::text)",
                text_array(texts),
                text_array([]),
                -5,
                None,
                long,
            )
        )

    assert over_a_link(dsn, ask) == [(texts, [], -5, None, len(long))]


def test_a_nul_is_refused_and_cuts_nothing_off(dsn: str) -> None:
    """PostgreSQL's text holds none; the next call is none the worse."""

    async def ask(link: Link) -> Any:
        with pytest.raises(psycopg.errors.CharacterNotInRepertoire):
            await link.call(asked("select %s::text[]", text_array(["a\0b"])))
        return await link.call(asked("select %s::text[]", text_array(["ab"])))

    assert over_a_link(dsn, ask) == [(["ab"],)]


def test_what_fails_at_the_commit_is_an_error(dsn: str, db: Database) -> None:
    """The rows come first; that they were committed is known only at the end."""
    db.execute("create table parent (id int primary key)")
    db.execute(
        "create table child (id int references parent deferrable initially deferred, note text)"
    )

    async def ask(link: Link) -> Any:
        insert = "insert into child select 1, %s from generate_series(1, 2000) returning note"
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            await link.call(asked(insert, "x" * 100))
        return await link.call(asked("select count(*)::int from child"))

    assert over_a_link(dsn, ask) == [(0,)]


def test_a_call_without_an_answer_is_given_up_at_its_deadline(dsn: str) -> None:
    """The connection with it: a late answer would be taken for that of the next call."""

    async def ask(link: Link) -> Any:
        with pytest.raises(DatabaseUnavailable, match="no answer from the server within"):
            await link.call(asked("select pg_sleep(30)::text"), seconds=0.1)
        lost = link.connection is None
        await asyncio.sleep(link.retry_seconds)
        return lost, await link.call(asked("select 1"))

    assert over_a_link(dsn, ask) == (True, [(1,)])


def test_a_session_that_forgot_its_statements_has_them_prepared_again(dsn: str) -> None:
    """One call fails; whoever made it makes it again."""

    async def ask(link: Link) -> Any:
        await link.call(asked("select 1"))
        conn = await link.open()
        await conn.execute("deallocate all")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            await link.call(asked("select 1"))
        return await link.call(asked("select 1"))

    assert over_a_link(dsn, ask) == [(1,)]


def test_a_session_that_is_ended_is_an_outage(dsn: str, db: Database) -> None:
    """While it waits for an answer, and while it is idle."""

    async def ask(link: Link) -> Any:
        ((pid,),) = await link.call(asked("select pg_backend_pid()"))
        waiting = asyncio.ensure_future(link.call(asked("select pg_sleep(30)::text")))
        await asyncio.sleep(0)
        db.execute("select pg_terminate_backend(%s, 5000)", (pid,))
        with pytest.raises(DatabaseUnavailable):
            await waiting
        await asyncio.sleep(link.retry_seconds)
        ((pid,),) = await link.call(asked("select pg_backend_pid()"))
        db.execute("select pg_terminate_backend(%s, 5000)", (pid,))
        with pytest.raises(DatabaseUnavailable):
            await link.call(asked("select 1"))
        return link.connection

    assert over_a_link(dsn, ask) is None
