"""The server crashes with commits that it had not flushed: no token is drawn twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.chaos.machinery.stage import Stage
from tests.support.sqljobs import (
    Claimed,
    claim,
    column,
    insert,
    insert_many,
    report,
    sqlstate_of,
    value,
    worker,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sqljobs import Db

    Figure = Callable[[str, object], None]

# What is committed reaches the disk when somebody waits for it, and not by itself meanwhile.
LAZY: dict[str, Any] = {"synchronous_commit": "off", "wal_writer_delay": "10s"}
JOBS = 100
CRASHES = 3


def _crash(stage: Stage) -> Db:
    stage.server.restart("immediate")
    return stage.db()


def _draw(db: Db, by: int) -> list[int]:
    """Each claim a transaction of its own; more than the 32 tokens that one WAL record covers."""
    return [claim(db, by, 1)[0].token for _ in range(JOBS)]


def test_tokens_that_crashes_took_back_are_not_drawn_again(record_property: Figure) -> None:
    """Claims are lost each time; tokens stay apart and grow."""
    drawn: list[int] = []
    kept = []
    with Stage(settings=LAZY) as stage:
        db = stage.db()
        for _ in range(CRASHES):
            insert_many(db, JOBS)
            by = worker(db, lease="1 hour")
            # Waits for its flush: what comes before is safe, what comes after is not.
            db.execute("set synchronous_commit = on")
            db.execute("create table public.safe (); drop table public.safe")
            db.execute("reset synchronous_commit")
            drawn += _draw(db, by)
            db = _crash(stage)
            kept.append(value(db, "select count(*) from pgqueue.running where worker_id = %s", by))
    record_property("claims committed; kept by each crash", f"{JOBS}; {kept}")

    assert max(kept) < JOBS
    assert drawn == sorted(set(drawn))


def _hurried(db: Db, by: int) -> list[Claimed]:
    """As an idle worker claims."""
    query = "select * from pgqueue.claim(%s, '{default}', 10, null, false)"
    return [Claimed(*one) for one in db.execute(query, (by,)).fetchall()]


def test_a_zombie_of_a_claim_that_a_crash_took_back_is_refused() -> None:
    """Its job is ready again, and the next attempt has a token of its own."""
    with Stage(settings={"wal_writer_delay": "10s"}) as stage:
        db = stage.db()
        insert_many(db, 1)
        by = worker(db, lease="1 hour")
        (before,) = _hurried(db, by)
        db = _crash(stage)
        waiting = value(db, "select count(*) from pgqueue.ready")
        (after,) = claim(db, by, 1)
        zombie = sqlstate_of(db, "select pgqueue.complete(%s, %s)", *before.owned)
        refused = report(db, [after])

    assert waiting == 1
    assert (after.job_id, after.attempt) == (before.job_id, before.attempt)
    assert after.token > before.token
    assert (zombie, refused) == ("PQ001", {})


def test_no_crash_takes_back_a_last_attempt() -> None:
    """max_attempts 1: whoever claims, and however, the job is never started twice."""
    with Stage(settings={"wal_writer_delay": "10s"}) as stage:
        db = stage.db()
        once = insert(db, max_attempts=1)
        by = worker(db, lease="1 hour")
        (job,) = _hurried(db, by)
        db = _crash(stage)
        again = claim(db, by, 10)
        refused = report(db, [job])

    assert job.job_id == once
    assert (again, refused) == ([], {})


def test_a_report_flushes_the_claim_before_it() -> None:
    """Of whichever session: the log is written in order."""
    with Stage(settings={"wal_writer_delay": "10s"}) as stage:
        db = stage.db()
        insert_many(db, 2)
        by = worker(db, lease="1 hour")
        first, second = _hurried(db, by)
        refused = report(stage.db(), [first])
        db = _crash(stage)
        kept = column(db, "select job_id from pgqueue.running")

    assert refused == {}
    assert kept == [second.job_id]
