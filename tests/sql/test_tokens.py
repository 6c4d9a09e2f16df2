"""Fencing tokens after a crash: without a mark token_seq leaps before anything is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import claim, claim_this, column, insert, insert_many, value, worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

LEAP = 2**32
LEAP_MAX = LEAP + 2**31
# A cancelled job that never ran is retried: the attempt that stands for its end gets a token.
_RETRIED = "select max(token) from pgqueue.attempts where outcome = 'redriven'"
_MARKS = "select count(*) from pgqueue.token_marks where made_by = xmin and made_in = tableoid"


def _forget(db: Db) -> None:
    """What a crash leaves of the table; the sequence keeps its value, as after any flush."""
    db.execute("truncate pgqueue.token_marks")


def _claimed(db: Db) -> int:
    insert(db)
    return claim(db, worker(db), 1)[0].token


def _claimed_with_limits(db: Db) -> int:
    db.execute("update pgqueue.settings set limited = true")
    return _claimed(db)


def _claimed_by_id(db: Db) -> int:
    return claim_this(db, insert(db)).token


def _exchanged(db: Db) -> int:
    insert(db)
    query = "select token from pgqueue.exchange(%s, '{default}', 1, null, '{}', '{}', null)"
    found: int = value(db, query, worker(db))
    return found


def _retried(db: Db) -> int:
    job_id = insert(db)
    db.execute("select pgqueue.cancel(%s)", (job_id,))
    db.execute("select pgqueue.retry(%s)", (job_id,))
    found: int = value(db, _RETRIED)
    return found


DRAWERS: dict[str, Callable[[Db], int]] = {
    "claim": _claimed,
    "claim under limits": _claimed_with_limits,
    "claim_job": _claimed_by_id,
    "exchange": _exchanged,
    "retry": _retried,
}


@pytest.mark.parametrize("name", DRAWERS)
def test_whoever_draws_without_a_mark_leaps_first(db: Db, name: str) -> None:
    """By 2^32 to 1.5 times as much; the next one sees the mark and draws the next token."""
    last = _claimed(db)
    _forget(db)
    first = DRAWERS[name](db)
    following = _claimed(db)

    assert LEAP < first - last <= LEAP_MAX + 1
    assert following == first + 1
    assert value(db, _MARKS) == 1


@pytest.mark.parametrize("name", DRAWERS)
def test_tokens_follow_each_other_from_the_install_on(db: Db, name: str) -> None:
    """The install makes the first mark."""
    last = _claimed(db)

    assert DRAWERS[name](db) == last + 1
    assert value(db, _MARKS) == 1


def test_every_function_that_draws_looks_for_the_mark(db: Db) -> None:
    """Whoever calls nextval('pgqueue.token_seq') is known here."""
    found = column(
        db,
        "select proname::text from pg_proc where pronamespace = 'pgqueue'::regnamespace"
        " and prosrc ~ 'nextval\\(''pgqueue.token_seq' order by 1",
    )

    assert found == ["claim", "claim_limited", "next_token"]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")],
)
def test_the_transaction_that_leaps_waits_for_its_flush(
    connect: Connect, said: str, wanted: str
) -> None:
    """Whatever the session says, and its own claim alone: later transactions are the session's."""
    db = connect(autocommit=False)
    db.execute("select set_config('synchronous_commit', %s, false)", (said,))
    db.commit()
    _forget(db)
    db.commit()
    _claimed(db)
    during = value(db, "select current_setting('synchronous_commit')")
    db.commit()
    _claimed(db)
    after = value(db, "select current_setting('synchronous_commit')")
    db.commit()

    assert (during, after) == (wanted, said)


def test_a_leap_that_is_rolled_back_leaves_no_mark(connect: Connect) -> None:
    """The sequence has moved, which does no harm; the next claim leaps again."""
    db = connect(autocommit=False)
    _forget(db)
    db.commit()
    lost = _claimed(db)
    db.rollback()
    insert_many(db, 1)
    kept = _claimed(db)
    db.commit()

    assert kept - lost > LEAP
    assert value(db, _MARKS) == 1


def test_a_mark_made_in_a_subtransaction_counts(db: Db) -> None:
    """Its xmin is not the transaction's own number."""
    _forget(db)
    with db.transaction(), db.transaction():
        first = _claimed(db)

    assert (_claimed(db), value(db, _MARKS)) == (first + 1, 1)


def test_a_mark_that_a_restore_brings_back_does_not_count(db: Db) -> None:
    """pg_dump writes the rows of unlogged tables too: tokens drawn after the dump are not known."""
    last = _claimed(db)
    with db.cursor().copy("copy pgqueue.token_marks to stdout") as copy:
        dumped = b"".join(bytes(block) for block in copy)
    _forget(db)
    with db.cursor().copy("copy pgqueue.token_marks from stdin") as copy:
        copy.write(dumped)

    assert value(db, "select count(*) from pgqueue.token_marks") == 1
    assert _claimed(db) - last > LEAP


@pytest.mark.parametrize(
    ("made_by", "made_in"),
    [
        ("pg_current_xact_id()::xid", "'pgqueue.jobs'::regclass"),
        ("'3'", "'pgqueue.token_marks'::regclass"),
    ],
    ids=["by the same transaction number", "into the same table"],
)
def test_a_mark_that_fits_by_half_does_not_count(db: Db, made_by: str, made_in: str) -> None:
    """pg_restore -1 in a new server has the number that the install had in another new server."""
    last = _claimed(db)
    _forget(db)
    db.execute(
        "insert into pgqueue.token_marks (id, made_by, made_in)"
        f" values (gen_random_uuid(), {made_by}, {made_in})"
    )

    assert _claimed(db) - last > LEAP


@pytest.mark.parametrize("how", ["vacuum (freeze)", "vacuum full", "cluster"])
def test_a_mark_outlives_the_housekeeping(db: Db, how: str) -> None:
    """Freezing and rewriting keep xmin; otherwise every weekly VACUUM FULL would be a leap."""
    last = _claimed(db)
    using = " using token_marks_pkey" if how == "cluster" else ""
    db.execute(f"{how} pgqueue.token_marks{using}")

    assert _claimed(db) == last + 1


def test_two_leaps_from_one_place_end_apart(db: Db) -> None:
    """A standby promoted without the leap of the server before it must not repeat its tokens."""
    firsts = []
    for _ in range(2):
        _forget(db)
        db.execute("select setval('pgqueue.token_seq', 1000)")
        firsts.append(_claimed(db))

    # By chance within a thousand of each other: once in a million runs.
    assert abs(firsts[0] - firsts[1]) > 1000


def test_a_table_that_survives_crashes_is_drift(db: Db) -> None:
    """SET LOGGED would keep the mark, and the fence would be gone without a word."""
    db.execute("alter table pgqueue.token_marks set logged")
    found: list[tuple[Any, ...]] = db.execute("select name, drift from pgqueue.drift()").fetchall()

    assert found == [("token_marks", "changed")]
