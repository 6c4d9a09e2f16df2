"""claim(p_flush => false): which claims commit without waiting for their flush, and which never."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import claim, insert, insert_many, value, worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_CLAIM = "select count(*) from pgqueue.claim(%s, '{default}', 10, null, %s)"
_COMMIT = "select current_setting('synchronous_commit')"


def _how(db: Db, by: int, *, flush: bool | None = False) -> tuple[int, str]:
    """How many jobs a claim finds, and how its transaction would commit."""
    found = value(db, _CLAIM, by, flush)
    how = value(db, _COMMIT)
    db.commit()
    return found, how


def _one_attempt_by_job(db: Db) -> None:
    insert(db, max_attempts=1)


def _one_attempt_by_type(db: Db) -> None:
    db.execute("select pgqueue.set_job_type('t', p_max_attempts => 1)")
    insert(db)


def _one_attempt_by_setting(db: Db) -> None:
    db.execute("select pgqueue.set_settings(p_max_attempts => 1)")
    insert(db)


def _second_of_two(db: Db) -> None:
    insert(db, max_attempts=2)
    (job,) = claim(db, worker(db))
    db.execute("select pgqueue.fail(%s, %s)", job.owned)
    db.execute("select pgqueue.retry(%s)", (job.job_id,))


def _last_among_others(db: Db) -> None:
    insert_many(db, 2)
    insert(db, max_attempts=1)
    insert_many(db, 2)


def _limited(db: Db) -> None:
    db.execute("update pgqueue.settings set limited = true")
    insert(db)


def _without_a_mark(db: Db) -> None:
    db.execute("truncate pgqueue.token_marks")
    insert(db)


@pytest.mark.parametrize(("flush", "how"), [(False, "off"), (True, "on"), (None, "on")])
def test_a_claim_waits_unless_it_says_that_it_need_not(
    connect: Connect, *, flush: bool | None, how: str
) -> None:
    """For its own transaction alone: the session's next one waits as before."""
    db = connect(autocommit=False)
    by = worker(db)
    insert_many(db, 2)
    db.commit()
    found = _how(db, by, flush=flush)

    assert found == (2, how)
    assert value(db, _COMMIT) == "on"


@pytest.mark.parametrize(
    "prepare",
    [
        _one_attempt_by_job,
        _one_attempt_by_type,
        _one_attempt_by_setting,
        _second_of_two,
        _last_among_others,
        _limited,
        _without_a_mark,
    ],
    ids=lambda prepare: prepare.__name__.strip("_"),
)
def test_a_claim_waits_where_a_crash_must_not_take_it_back(
    connect: Connect, prepare: Callable[[Db], None]
) -> None:
    """A last attempt, a limit, a leap: p_flush => false changes nothing."""
    db = connect(autocommit=False)
    by = worker(db)
    prepare(db)
    db.commit()
    found, how = _how(db, by)

    assert found >= 1
    assert how == "on"


def test_a_last_attempt_restores_what_the_session_had(connect: Connect) -> None:
    """remote_apply stays remote_apply, and off stays off: the claim asks for no more."""
    db = connect(autocommit=False)
    by = worker(db)
    db.commit()
    found = []
    for said in ("remote_apply", "off"):
        insert(db, max_attempts=1)
        db.execute("select set_config('synchronous_commit', %s, false)", (said,))
        db.commit()
        found.append(_how(db, by))

    assert found == [(1, "remote_apply"), (1, "off")]


def test_what_was_written_before_the_claim_is_waited_for(connect: Connect) -> None:
    """The caller's own rows commit with it."""
    db = connect(autocommit=False)
    by = worker(db)
    insert(db)
    db.commit()
    db.execute("create table public.mine ()")
    found = _how(db, by)

    assert found == (1, "on")


def test_a_leap_is_waited_for_by_the_claim_that_follows_it(connect: Connect) -> None:
    """Both in one transaction: it has seen its own mark, which nobody else may see too early."""
    db = connect(autocommit=False)
    by = worker(db)
    insert_many(db, 20)
    db.execute("truncate pgqueue.token_marks")
    db.commit()
    value(db, _CLAIM, by, False)

    assert _how(db, by) == (10, "on")
