"""A tenant learns of its own numbers: neither statistics, quotas nor refusals tell of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import claim, column, insert, sqlstate_of, value, worker

if TYPE_CHECKING:
    from tests.security.conftest import Login
    from tests.support.sqljobs import Db

_LIKE_A = "insert into pgqueue.jobs (job_type) values ('t')"
_RIGHTS = ("pgqueue_producer", "pgqueue_viewer")


@pytest.fixture
def a(db: Db, login: Login) -> Db:
    """A login of tenant a, which has a quota, in a database where b has one too, and jobs."""
    db.execute("select pgqueue.enable_tenants()")
    db.execute("select pgqueue.set_fairness('default')")
    for tenant, quota in (("a", 5), ("secret", 7)):
        db.execute("select pgqueue.set_tenant_quota(%s, %s)", (tenant, quota))
        db.execute("select pgqueue.set_tenant_weight(%s, 2)", (tenant,))
        for _ in range(4):
            insert(db, tenant_id=tenant)
    claim(db, worker(db), 2)
    db.execute("select * from pgqueue.maintain()")
    return login(*_RIGHTS, tenant="a")


def test_a_tenant_sees_its_own_row_of_the_numbers(db: Db, a: Db) -> None:
    """Counted without the others; an unconfined login sees all."""
    found = a.execute(
        "select tenant_id, queued + running, waiting_max, weight from pgqueue.tenant_stats"
    ).fetchall()

    assert found == [("a", 4, 5, 2.0)]
    assert column(db, "select tenant_id from pgqueue.tenant_stats order by 1") == ["a", "secret"]


@pytest.mark.parametrize("table", ["tenant_settings", "tenant_jobs", "tenant_counts"])
def test_the_tables_behind_show_the_tenants_own_rows_only(db: Db, a: Db, table: str) -> None:
    """By policy, as all that knows tenants."""
    query = f"select distinct tenant_id from pgqueue.{table} order by 1"

    assert column(a, query) == ["a"]
    assert column(db, query) == ["a", "secret"]


def test_the_marks_of_fair_queues_are_hidden(db: Db, a: Db) -> None:
    """They tell how much all tenants insert."""
    query = "select count(*) from pgqueue.lane_marks"

    assert value(a, query) == 0
    assert value(db, query) > 0


def test_a_refusal_tells_a_tenant_of_itself_only(a: Db) -> None:
    """Its own numbers, whatever the others have; no row is quoted."""
    while sqlstate_of(a, _LIKE_A) is None:
        pass
    with pytest.raises(psycopg.Error) as caught:
        a.execute(_LIKE_A)
    told = str(caught.value.diag.message_primary)

    assert caught.value.sqlstate == "PQ008"
    assert told.startswith("the quota of tenant 'a' is exceeded: 5 jobs waiting and 1 more")
    assert caught.value.diag.message_detail is None


@pytest.mark.parametrize(
    "attempt",
    [
        "select pgqueue.set_tenant_quota('a', 1000)",
        "select pgqueue.set_tenant_weight('a', 100)",
        "select pgqueue.set_fairness('default', false)",
        "select pgqueue.check_quota('secret', 0, 0)",
        "select pgqueue.count_tenants()",
        "update pgqueue.tenant_settings set weight = 100",
        "delete from pgqueue.tenant_jobs",
    ],
)
def test_a_tenant_cannot_help_itself(a: Db, attempt: str) -> None:
    """Quotas and weights are the operators', fairness the owner's."""
    assert sqlstate_of(a, attempt) == "42501"
