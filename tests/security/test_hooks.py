"""Who may set a hook, and which functions are never called as one: they would run as the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import column, insert, sqlstate_of, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Connect
    from tests.security.conftest import Login
    from tests.support.sqljobs import Db

_FUNCTION = """create or replace function {}.hook(p_event text, p_job_ids uuid[]) returns uuid[]
    language plpgsql {} as $$ begin
        insert into shop.ran values (current_user); return null; end $$"""
_PINNED = "set search_path = pg_catalog, pg_temp"


@pytest.fixture
def stranger(db: Db, login: Login) -> Iterator[Db]:
    """A login with a schema of its own; the schema's owner has one, too, and is told who ran."""
    conn = login()
    db.execute(
        f"""create schema shop authorization pgqueue_owner;
        create schema theirs authorization {conn.info.user};
        grant usage on schema theirs to public;
        set role pgqueue_owner;
        create table shop.ran (who name);
        grant usage on schema shop to {conn.info.user};
        grant insert on shop.ran to {conn.info.user};
        reset role"""
    )
    yield conn
    db.execute("reset role")


@pytest.fixture
def shop(db: Db, stranger: Db) -> Db:
    """As the schema's owner."""
    assert stranger.info.user
    db.execute("set role pgqueue_owner")
    return db


@pytest.mark.parametrize(
    "role", ["pgqueue_producer", "pgqueue_worker", "pgqueue_viewer", "pgqueue_operator"]
)
def test_no_role_of_ours_may_set_call_or_drop_hooks(connect: Connect, role: str) -> None:
    """Only the schema's owner: whoever sets a hook has his rights."""
    conn = connect(role=role)

    assert [
        sqlstate_of(conn, "select pgqueue.set_hook('t', 'shop.hook')"),
        sqlstate_of(conn, "select pgqueue.drop_hook('t', 'shop.hook')"),
        sqlstate_of(conn, "select pgqueue.call_hook('shop', 'hook', 'insert', '{}')"),
        sqlstate_of(conn, "select pgqueue.unhold('{}')"),
        sqlstate_of(conn, "insert into pgqueue.hooks values ('t', 'shop', 'hook', '{insert}')"),
    ] == ["42501"] * 5


@pytest.mark.parametrize("definer", ["", "security definer"])
def test_a_function_of_somebody_else_is_refused(shop: Db, stranger: Db, definer: str) -> None:
    """SECURITY DEFINER as well: he could make it INVOKER between the look and the call."""
    stranger.execute(_FUNCTION.format("theirs", f"{definer} {_PINNED}"))

    assert sqlstate_of(shop, "select pgqueue.set_hook('t', 'theirs.hook')") == "PQ006"


@pytest.mark.parametrize(
    "setting", ["", "set search_path = shop", "set search_path = pg_catalog, public"]
)
def test_a_function_whose_search_path_is_not_pinned_is_refused(shop: Db, setting: str) -> None:
    """A producer's own schema or temporary table would come first."""
    shop.execute(_FUNCTION.format("shop", setting))

    assert sqlstate_of(shop, "select pgqueue.set_hook('t', 'shop.hook')") == "PQ006"


@pytest.mark.parametrize(
    "name", ["shop.none", "hook", "shop.hook.x", "pgqueue.maintain", "pg_catalog.lower"]
)
def test_what_is_no_such_function_is_refused(shop: Db, name: str) -> None:
    """Neither set nor stored."""
    assert sqlstate_of(shop, "select pgqueue.set_hook('t', %s)", name) == "PQ006"
    assert column(shop, "select * from pgqueue.hooks") == []


def test_a_hook_that_has_been_given_away_is_not_called(
    shop: Db, stranger: Db, connect: Connect
) -> None:
    """Its new owner could replace it; the look is taken again at each call."""
    shop.execute(_FUNCTION.format("shop", _PINNED))
    shop.execute("select pgqueue.set_hook('t', 'shop.hook')")
    producer = connect(role="pgqueue_producer")
    insert(producer)
    shop.execute(f"reset role; grant create on schema shop to {stranger.info.user}")
    shop.execute(f"alter function shop.hook(text, uuid[]) owner to {stranger.info.user}")

    assert sqlstate_of(producer, "insert into pgqueue.jobs (job_type) values ('t')") == "PQ006"
    assert column(shop, "select who from shop.ran") == ["pgqueue_owner"]


def test_a_hook_runs_as_the_owner_for_a_producer(shop: Db, connect: Connect) -> None:
    """Who may only insert jobs reads and writes nothing of the hook's himself."""
    shop.execute(_FUNCTION.format("shop", _PINNED))
    shop.execute("select pgqueue.set_hook('t', 'shop.hook')")
    producer = connect(role="pgqueue_producer")
    insert(producer)

    assert sqlstate_of(producer, "select * from shop.ran") == "42501"
    assert value(shop, "select who from shop.ran") == "pgqueue_owner"
