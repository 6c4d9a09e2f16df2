"""The proxy fails as it is told, and what a client can know after a lost COMMIT."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from tests.chaos.machinery.proxy import Cut, Faults, Proxy
from tests.support import handlers
from tests.support.wait import eventually
from tests.support.workers import attempts, enqueue, reaches, working

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.machinery.proxy import Moment

    Database = psycopg.Connection[Any]

CUTS = 100


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    """A proxy in front of the test's database."""
    with Proxy(dsn) as proxy:
        yield proxy


def commit_cut(proxy: Proxy, statement: str, *arguments: object) -> int:
    """Run a statement in a transaction whose COMMIT is cut; its transaction id."""
    # Closed, not left: one that has not noticed the cut yet would roll back on the way out.
    with contextlib.closing(psycopg.connect(proxy.dsn, connect_timeout=10)) as conn:
        (xid,) = conn.execute("select pg_current_xact_id()::text::bigint").fetchall()[0]
        conn.execute(statement, arguments)
        with pytest.raises(psycopg.OperationalError) as caught:
            conn.commit()
        # Not conn.broken: libpq notices a reset now at the read that fails, now at the next.
        assert caught.value.sqlstate is None
        return int(xid)


def fate(db: Database, xid: int) -> str:
    """What became of a transaction, once that is decided."""

    def ask() -> str | None:
        row = db.execute("select pg_xact_status(%s::text::xid8)", (xid,)).fetchone()
        assert row is not None
        return None if row[0] == "in progress" else str(row[0])

    eventually(ask, what=f"transaction {xid} has ended")
    return str(ask())


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("before", "aborted"),
        ("during", "committed"),
        ("after", "committed"),
        ("first byte", "committed"),
    ],
)
def test_a_cut_commit_has_the_fate_that_its_moment_says(
    proxy: Proxy, db: Database, moment: Moment, expected: str
) -> None:
    """Cut before it is forwarded: rolled back. Cut later: it has happened, 100 times of 100."""
    insert = "insert into pgqueue.jobs (job_type, unique_key) values ('cut', %s)"
    proxy.cut(Cut(moment), times=CUTS)

    fates = [fate(db, commit_cut(proxy, insert, str(number))) for number in range(CUTS)]

    rows = db.execute("select count(*) from pgqueue.jobs where job_type = 'cut'").fetchall()
    assert (fates, proxy.cuts_done) == ([expected] * CUTS, CUTS)
    assert rows == [(CUTS if expected == "committed" else 0,)]


def test_repeating_an_enqueue_whose_reply_was_lost_makes_no_second_job(
    proxy: Proxy, db: Database
) -> None:
    """100 jobs with keys, each COMMIT cut before or after, each repeated: 100 jobs."""
    insert = (
        "insert into pgqueue.jobs (job_type, idempotency_key) values ('again', %s)"
        " on conflict do nothing"
    )
    moments: list[Moment] = ["before", "after", "during", "first byte"]
    for number in range(CUTS):
        proxy.cut(Cut(moments[number % 4]))
        commit_cut(proxy, insert, str(number))
        with psycopg.connect(proxy.dsn, autocommit=True, connect_timeout=10) as again:
            again.execute(insert, (str(number),))

    rows = db.execute(
        "select count(*), count(distinct idempotency_key) from pgqueue.jobs"
    ).fetchall()
    assert rows == [(CUTS, CUTS)]


def test_repeating_a_completion_whose_reply_was_lost_is_harmless(
    proxy: Proxy, db: Database
) -> None:
    """100 completions, each reply cut and each repeated: every repetition is accepted."""
    db.execute(
        "insert into pgqueue.jobs (job_type) select 'done' from generate_series(1, %s)", (CUTS,)
    )
    ((worker,),) = db.execute("select pgqueue.register_worker('cut')").fetchall()
    claimed = db.execute(
        "select job_id, token from pgqueue.claim(%s, array['default'], %s)", (worker, CUTS)
    ).fetchall()
    complete = "select pgqueue.complete(%s, %s::bigint)"
    proxy.cut(Cut("after", b"select pgqueue.complete"), times=CUTS)
    for job_id, token in claimed:
        with (
            psycopg.connect(proxy.dsn, autocommit=True, connect_timeout=10) as conn,
            pytest.raises(psycopg.OperationalError),
        ):
            conn.execute(complete, (job_id, token))

    again = [db.execute(complete, (job, token)).fetchall() for job, token in claimed]

    rows = db.execute("select status, attempt, count(*) from pgqueue.finished group by 1, 2")
    assert (len(claimed), proxy.cuts_done) == (CUTS, CUTS)
    assert rows.fetchall() == [("succeeded", 1, CUTS)]
    assert again == [[("succeeded",)]] * CUTS


@pytest.mark.parametrize(
    "faults",
    [
        Faults(latency_seconds=0.05, jitter_seconds=0.05),
        Faults(slice_bytes=1),
        Faults(bytes_per_second=64_000),
    ],
    ids=["latency", "one byte at a time", "8 kB/s"],
)
def test_a_worker_does_its_work_over_a_bad_line(
    dsn: str, proxy: Proxy, db: Database, faults: Faults
) -> None:
    """50 jobs over a slow, sliced or narrow line: all succeed at their first attempt."""
    ids = [enqueue(db, "nothing") for _ in range(50)]
    with working(handlers.jobs, proxy.dsn, poll_seconds=1):
        proxy.faults = faults
        eventually(
            lambda: db.execute("select count(*) from pgqueue.finished").fetchall() == [(50,)],
            seconds=60,
            what="all jobs are done",
        )
        proxy.faults = Faults()

    rows = db.execute("select status, attempt, count(*) from pgqueue.finished group by 1, 2")
    assert rows.fetchall() == [("succeeded", 1, 50)]
    assert [attempts(db, job_id) for job_id in ids] == [[]] * 50


def test_a_worker_survives_resets_and_refusals(proxy: Proxy, db: Database) -> None:
    """Ten times half of its connections are reset, and once nobody gets in for a while."""
    with working(handlers.jobs, proxy.dsn, poll_seconds=0.5, lease_seconds=5):
        for _ in range(10):
            job = enqueue(db, "nothing")
            proxy.reset(share=0.5)
            reaches(db, job, "succeeded")
        proxy.faults = Faults(refuse=True)
        proxy.reset()
        job, before = enqueue(db, "nothing"), proxy.connections
        eventually(lambda: proxy.connections >= before + 3, what="three attempts to connect")
        proxy.faults = Faults()
        reaches(db, job, "succeeded")

    rows = db.execute("select status, count(*) from pgqueue.finished group by 1").fetchall()
    assert rows == [("succeeded", 11)]


def test_a_black_hole_keeps_what_it_swallowed(proxy: Proxy) -> None:
    """Nothing comes back while it is open, everything afterwards."""
    with psycopg.connect(proxy.dsn, autocommit=True, connect_timeout=10) as conn:
        word = str(uuid4())
        proxy.faults = Faults(black_hole="down")
        conn.pgconn.send_query(f"select '{word}'".encode())
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            conn.pgconn.consume_input()
            assert conn.pgconn.is_busy()
        proxy.faults = Faults()

        def answer() -> bool:
            conn.pgconn.consume_input()
            return not conn.pgconn.is_busy()

        eventually(answer, what="the answer")
        result, end = conn.pgconn.get_result(), conn.pgconn.get_result()

        assert end is None
        assert result is not None
        assert result.get_value(0, 0) == word.encode()
