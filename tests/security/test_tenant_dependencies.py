"""Tenants and jobs that wait for jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.sqljobs import insert, refused, row, value

if TYPE_CHECKING:
    from tests.security.conftest import Login
    from tests.support.sqljobs import Db


def test_a_confined_login_depends_on_its_own_jobs_only(db: Db, login: Login) -> None:
    """Another tenant's job does not exist for it, whatever its place."""
    db.execute("select pgqueue.enable_tenants()")
    own, foreign = insert(db, tenant_id="a"), insert(db, tenant_id="b")
    confined = login("pgqueue_producer", tenant="a")
    with refused("23503", constraint="jobs_depends_on_exist"):
        insert(confined, depends_on=(own, foreign))
    child = insert(confined, depends_on=(own,))
    words = value(confined, "select pgqueue.why_waiting(%s)", child)
    found = row(confined, "select count(*) from pgqueue.workflow(%s)", own)

    assert words == f"blocked: waits for 1 job, {own} (queued)"
    assert found == (2,)


def test_a_workflow_over_tenants_shows_each_its_own_part(db: Db, login: Login) -> None:
    """An operator may connect tenants' jobs; a confined login does not see across."""
    db.execute("select pgqueue.enable_tenants()")
    foreign = insert(db, tenant_id="b")
    child = insert(db, tenant_id="a", depends_on=(foreign,))
    confined = login("pgqueue_producer", tenant="a")
    shown = row(confined, "select job_id from pgqueue.workflow(%s)", child)
    words = value(confined, "select pgqueue.why_waiting(%s)", child)
    results = confined.execute("select * from pgqueue.parent_results(%s)", (child,)).fetchall()

    assert shown == (child,)
    assert str(foreign) not in words
    assert results == []
