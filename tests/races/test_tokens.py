"""Leaps of the token sequence against each other, and against those who draw."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.support.sqljobs import claim, insert_many, report, value, worker

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Db

SESSIONS = 8
ROUNDS = 40


def test_first_claims_at_once_wait_for_nobody_and_leap_each(open_session: Open) -> None:
    """Neither sees the other's mark before it commits; both marks stand, and one is enough."""
    db = open_session()
    insert_many(db, 3)
    by = worker(db)
    db.execute("truncate pgqueue.token_marks")
    one, other = open_session.transaction(), open_session.transaction()
    (first,), (second,) = claim(one, by, 1), claim(other, by, 1)
    other.commit()
    (third,) = claim(db, by, 1)
    one.commit()
    marks = "select count(*) from pgqueue.token_marks where made_by = xmin and made_in = tableoid"

    assert second.token - first.token > 2**32
    assert third.token == second.token + 1
    assert value(db, marks) == 2


def test_tokens_stay_apart_and_grow_while_marks_vanish(
    open_session: Open, sessions: Sessions
) -> None:
    """Eight claimers, and a session that takes the marks away as fast as it can."""
    db = open_session()
    insert_many(db, SESSIONS * ROUNDS)
    claimers = [open_session() for _ in range(SESSIONS)]
    drawn = sessions.together(
        [*(partial(_draw, conn, worker(db)) for conn in claimers), partial(_vanish, open_session())]
    )
    tokens = [token for each in drawn[:-1] for token in each]
    leaps = value(db, "select last_value >> 32 from pgqueue.token_seq")

    assert len(set(tokens)) == len(tokens) == SESSIONS * ROUNDS
    assert [each for each in drawn[:-1] if each != sorted(each)] == []
    assert leaps > SESSIONS


def _draw(db: Db, by: int) -> list[int]:
    """One token after the other; each claim has committed before the next begins."""
    tokens = []
    for _ in range(ROUNDS):
        (job,) = claim(db, by, 1)
        tokens.append(job.token)
        report(db, [job])
    return tokens


def _vanish(db: Db) -> None:
    while value(db, "select count(*) from pgqueue.finished") < SESSIONS * ROUNDS:
        db.execute("delete from pgqueue.token_marks")
