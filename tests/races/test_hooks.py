"""Jobs that a hook holds back, and who else moves them at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import claim_this, insert, status, value

if TYPE_CHECKING:
    from uuid import UUID

    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Db


@pytest.fixture
def held(db: Db) -> UUID:
    """A job that a hook holds back, as it does all jobs of its type."""
    db.execute(
        """create schema shop authorization pgqueue_owner;
        set role pgqueue_owner;
        create function shop.hold(p_event text, p_job_ids uuid[]) returns uuid[]
        language sql set search_path = pg_catalog, pg_temp as $$ select p_job_ids $$;
        select pgqueue.set_hook('held', 'shop.hold', '{insert}');
        reset role"""
    )
    return insert(db, "held")


def test_a_parent_that_an_insert_has_marked_is_let_go_later(
    db: Db, open_session: Open, held: UUID
) -> None:
    """unhold() does not wait for the child's INSERT, and keeps its mark."""
    producer = open_session.transaction()
    child = insert(producer, "free", depends_on=(held,))
    db.execute("set lock_timeout = '1s'")
    meanwhile = value(db, "select pgqueue.unhold(array[%s]::uuid[])", held)
    producer.commit()
    let_go = value(db, "select pgqueue.unhold(array[%s]::uuid[])", held)
    db.execute("select pgqueue.complete(%s, %s)", claim_this(db, held).owned)

    assert (meanwhile, let_go) == ([], [held])
    assert status(db, child) == "queued"


def test_a_job_that_is_being_cancelled_is_left(db: Db, open_session: Open, held: UUID) -> None:
    """unhold() does not wait; the cancellation stands."""
    canceller = open_session.transaction()
    canceller.execute("select pgqueue.cancel(%s)", (held,))
    db.execute("set lock_timeout = '1s'")
    let_go = value(db, "select pgqueue.unhold(array[%s]::uuid[])", held)
    canceller.commit()

    assert let_go == []
    assert status(db, held) == "cancelled"


def test_who_cancels_a_job_that_is_being_let_go_waits(
    db: Db, open_session: Open, sessions: Sessions, held: UUID
) -> None:
    """And cancels it where it is by then."""
    hook = open_session.transaction()
    hook.execute("select pgqueue.unhold(array[%s]::uuid[])", (held,))
    cancelling = sessions.start(open_session(), "select pgqueue.cancel(%s)", held)
    cancelling.blocked()
    hook.commit()

    assert cancelling.value() == "cancelled"
    assert status(db, held) == "cancelled"
