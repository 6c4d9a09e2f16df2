"""The inbox, feeds and callbacks under tenants: a login meets its own tenant's only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import claim, column, refused, report, sqlstate_of, value, worker

if TYPE_CHECKING:
    from tests.security.conftest import Login
    from tests.support.sqljobs import Db


@pytest.fixture
def a(db: Db, login: Login) -> Db:
    """A producer and viewer of tenant a."""
    db.execute("select pgqueue.enable_tenants()")
    return login("pgqueue_producer", "pgqueue_viewer", tenant="a")


@pytest.fixture
def b(db: Db, login: Login) -> Db:
    """The same of tenant b."""
    db.execute("select pgqueue.enable_tenants()")
    return login("pgqueue_producer", "pgqueue_viewer", tenant="b")


def _post(db: Db, **columns: Any) -> tuple[Any, ...]:
    given = {"job_type": "t", **columns}
    found = db.execute(
        f"insert into pgqueue.inbox ({', '.join(given)})"
        f" values ({', '.join(['%s'] * len(given))}) returning id, inserted",
        list(given.values()),
    ).fetchall()
    return tuple(found[0])


def _all_finish(db: Db) -> None:
    report(db, claim(db, worker(db)))


def test_the_inbox_gives_a_job_to_the_logins_tenant(db: Db, a: Db, b: Db) -> None:
    """Unsaid, or said as an object mapper does; another's is refused."""
    for tenant in (None, "", "a"):
        _post(a, tenant_id=tenant)
    _post(b)

    with refused("42501"):
        _post(a, tenant_id="b")
    assert column(db, "select tenant_id from pgqueue.jobs order by 1") == ["a", "a", "a", "b"]


def test_a_key_of_another_tenant_is_no_duplicate(a: Db, b: Db) -> None:
    """Nor does an id tell anything but that it is taken."""
    mine, _ = _post(a, idempotency_key="k", unique_key="k")
    other, inserted = _post(b, idempotency_key="k", unique_key="k")

    assert mine != other
    assert inserted is True
    with refused("23505", constraint="jobs_pkey"):
        _post(b, id=mine)


def test_copy_through_the_inbox_works_for_a_confined_login(db: Db, a: Db) -> None:
    """Into the table PostgreSQL refuses it under row-level security (0A000)."""
    with a.cursor().copy("copy pgqueue.inbox (job_type, payload) from stdin") as copy:
        copy.write_row(("t", "{}"))

    assert column(db, "select tenant_id from pgqueue.jobs") == ["a"]


def test_a_feed_of_the_same_name_is_another_for_each_tenant(db: Db, a: Db, b: Db) -> None:
    """Neither takes, acknowledges nor sees the other's completions."""
    mine, _ = _post(a, feed="shop")
    theirs, _ = _post(b, feed="shop")
    _all_finish(db)
    numbers = column(db, "select id from pgqueue.completions")
    taken = {
        name: column(one, "select job_id from pgqueue.take_completions('shop')")
        for name, one in (("a", a), ("b", b))
    }
    acknowledged = value(a, "select pgqueue.ack_completions('shop', %s)", numbers)

    assert taken == {"a": [mine], "b": [theirs]}
    assert acknowledged == 1
    assert column(db, "select tenant_id from pgqueue.completions") == ["b"]
    assert column(a, "select job_id from pgqueue.completions") == []
    assert column(b, "select job_id from pgqueue.completions") == [theirs]


def test_a_tenants_delivery_is_the_tenants(db: Db, a: Db, b: Db) -> None:
    """It sees how it fares; nobody else does."""
    job_id, _ = _post(a, callback_url="https://hooks.example.com/")
    _all_finish(db)
    find = "select tenant_id from pgqueue.jobs where callback_of = %s"

    assert column(a, find, job_id) == ["a"]
    assert column(b, find, job_id) == []


def test_a_tenants_login_neither_sees_nor_makes_secrets(db: Db, a: Db) -> None:
    """Not even which hosts there are."""
    value(db, "select pgqueue.add_callback_secret('hooks.example.com', p_tenant_id => 'a')")

    assert column(a, "select host from pgqueue.callback_secrets") == []
    assert sqlstate_of(a, "select pgqueue.add_callback_secret('x.example')") == "42501"
    assert sqlstate_of(a, "select pgqueue.remove_callback_secret(1)") == "42501"
    assert sqlstate_of(a, "select pgqueue.sign_callback(gen_random_uuid(), 1)") == "42501"
    assert sqlstate_of(a, "select pgqueue.hmac_sha256('a', 'b')") == "42501"
