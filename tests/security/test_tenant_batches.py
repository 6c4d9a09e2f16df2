"""Batches and signals of a tenant's login: its own, and nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.sqljobs import claim_this, column, insert, refused, sqlstate_of, status, value

if TYPE_CHECKING:
    from tests.security.conftest import Login
    from tests.support.sqljobs import Db

_OPEN = 'select pgqueue.open_batch(p_on_complete => \'{"job_type": "over"}\', p_tenant_id => %s)'


def test_a_confined_login_sees_and_fills_its_own_batches_only(db: Db, login: Login) -> None:
    """Another tenant's does not exist for it; what it opens is its tenant's, callbacks too."""
    db.execute("select pgqueue.enable_tenants()")
    foreign = value(db, _OPEN, "b")
    confined = login("pgqueue_producer", tenant="a")
    own = value(confined, _OPEN, None)
    insert(confined, batch_id=own)
    insert(db, batch_id=foreign, tenant_id="b")
    with refused("23503", constraint="jobs_batch_id_exists"):
        insert(confined, batch_id=foreign)
    seen = column(confined, "select id from pgqueue.batch_status")
    logged = set(column(confined, "select batch_id from pgqueue.batch_log"))
    db.execute("select pgqueue.cancel(id) from pgqueue.jobs where batch_id = %s", (own,))
    confined.execute("select pgqueue.close_batch(%s)", (own,))

    assert (seen, logged) == ([own], {own})
    assert sqlstate_of(confined, "select pgqueue.close_batch(%s)", foreign) == "PQ010"
    assert sqlstate_of(confined, _OPEN, "b") == "42501"
    assert sqlstate_of(confined, "select on_complete from pgqueue.batches") == "42501"
    assert column(db, "select tenant_id from pgqueue.jobs where job_type = 'over'") == ["a"]


def test_a_confined_login_signals_its_own_jobs_only(db: Db, login: Login) -> None:
    """But a token is the right to use it, whoever brings it; nobody reads what signs it."""
    db.execute("select pgqueue.enable_tenants()")
    foreign = insert(db, tenant_id="b")
    db.execute("select pgqueue.pause_until(%s, %s, 'a')", claim_this(db, foreign).owned)
    token = value(db, "select pgqueue.signal_token(%s, 'a')", foreign)
    confined = login("pgqueue_producer", tenant="a")
    refusals = [
        sqlstate_of(confined, query, foreign)
        for query in (
            "select pgqueue.signal(%s, 'a')",
            "select pgqueue.signal_token(%s, 'a')",
            "select * from pgqueue.signals_of(%s)",
        )
    ]

    assert refusals == ["PQ003"] * 3
    assert value(confined, "select pgqueue.signal_by_token(%s)", token) is True
    assert status(db, foreign) == "queued"
    assert sqlstate_of(confined, "select secret from pgqueue.signal_secret") == "42501"
