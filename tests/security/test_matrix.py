"""
Every role against every object of the schema, by the catalogue and by trying it.

What the four roles may is written down in test_grants.py; here are all others: PUBLIC, a login of
no role, the owner of the schema, and what really happens when a function is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.security.test_grants import _CALLS, _ROLES
from tests.support.sqljobs import column, sqlstate_of, value

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.security.conftest import Login
    from tests.support.sqljobs import Db

# Every privilege on every object that somebody of the name {role} has.
_EVERYTHING = """
    select 'function', p.oid::regprocedure::text, 'execute'
    from pg_proc p
    where p.pronamespace = 'pgqueue'::regnamespace and has_function_privilege('{role}', p.oid, 'execute')
    union all
    select 'relation', c.oid::regclass::text, r
    from pg_class c, unnest('{{select,insert,update,delete,truncate,references,trigger}}'::text[]) r
    where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v', 'p', 'm')
        and has_table_privilege('{role}', c.oid, r)
    union all
    select 'column', c.oid::regclass || '.' || a.attname, r
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped,
        unnest('{{select,insert,update,references}}'::text[]) r
    where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v', 'p', 'm')
        and has_column_privilege('{role}', c.oid, a.attnum, r)
    union all
    select 'sequence', c.oid::regclass::text, r
    from pg_class c, unnest('{{usage,select,update}}'::text[]) r
    where c.relnamespace = 'pgqueue'::regnamespace and c.relkind = 'S'
        and has_sequence_privilege('{role}', c.oid, r)
    union all
    select 'schema', 'pgqueue', r
    from unnest('{{usage,create}}'::text[]) r where has_schema_privilege('{role}', 'pgqueue', r)
"""  # noqa: E501
_FUNCTIONS = """
    select p.proname, format('select * from pgqueue.%I(%s)', p.proname, (
        select string_agg('null::' || format_type(t.type, null), ', ' order by t.n)
        from unnest(p.proargtypes::oid[]) with ordinality as t (type, n)))
    from pg_proc p
    where p.pronamespace = 'pgqueue'::regnamespace and p.prorettype <> 'trigger'::regtype
    order by 1
"""
# Functions that need no row of null arguments to do their work, and must do it for the role.
_WORK_WITHOUT_ARGUMENTS = {
    "pgqueue_worker": {"maintain", "promote", "rescue", "expire", "live_workers"},
    "pgqueue_operator": {"verify", "drift", "expire", "ready_depth"},
    "pgqueue_viewer": {"verify", "drift", "ready_types"},
    "pgqueue_producer": {"uuid_v7", "current_tenant"},
}


def _held(db: Db, role: str) -> list[tuple[str, str, str]]:
    return db.execute(_EVERYTHING.format(role=role)).fetchall()


def test_nothing_at_all_is_for_public(db: Db) -> None:
    """No function, table, view, column, sequence; not even the schema."""
    assert _held(db, "public") == []


def test_a_login_of_no_role_has_nothing(db: Db, login: Login) -> None:
    """What it could have by PUBLIC, by a default privilege, by membership."""
    nobody = login()

    assert _held(db, nobody.info.user) == []


def test_the_list_of_privileges_can_fail(db: Db, login: Login) -> None:
    """It finds what is granted, each kind of it."""
    nobody = login()
    name = nobody.info.user
    db.execute(f"grant execute on function pgqueue.retry to {name}")
    db.execute(f"grant insert (payload) on pgqueue.jobs to {name}")
    db.execute(f"grant delete on pgqueue.ready to {name}")
    db.execute(f"grant usage on sequence pgqueue.token_seq to {name}")
    db.execute(f"grant create on schema pgqueue to {name}")

    assert sorted(_held(db, name)) == [
        ("column", "pgqueue.jobs.payload", "insert"),
        ("function", "pgqueue.retry(uuid)", "execute"),
        ("relation", "pgqueue.ready", "delete"),
        ("schema", "pgqueue", "create"),
        ("sequence", "pgqueue.token_seq", "usage"),
    ]


@pytest.mark.parametrize("role", [*_ROLES, "nobody"])
def test_each_function_is_refused_or_works_when_it_is_called(
    db: Db, login: Login, connect: Connect, role: str
) -> None:
    """42501 for all others, and never from inside of a function that the role may call."""
    caller = login() if role == "nobody" else connect(role=role)
    caller.execute("set statement_timeout = '10s'")
    may = {name for roles, names in _CALLS.items() if role in roles for name in names}
    calls = dict(db.execute(_FUNCTIONS).fetchall())
    refused, worked = set(), set()
    for name, call in calls.items():
        try:
            with caller.transaction(force_rollback=True):
                caller.execute(call)
        except psycopg.errors.InsufficientPrivilege:
            refused.add(name)
        except psycopg.errors.QueryCanceled:
            raise
        except psycopg.Error:
            pass
        else:
            worked.add(name)

    assert refused == set(calls) - may
    assert worked >= _WORK_WITHOUT_ARGUMENTS.get(role, set())


@pytest.mark.parametrize("role", [*_ROLES, "nobody"])
def test_each_trigger_function_is_refused_as_a_trigger_of_ones_own(
    db: Db, login: Login, role: str
) -> None:
    """A foreign table with our definer trigger would write our tables as the owner."""
    caller = login() if role == "nobody" else login(role)
    caller.execute("create temp table fake (id uuid)")
    names = column(
        db,
        "select proname from pg_proc where pronamespace = 'pgqueue'::regnamespace"
        " and prorettype = 'trigger'::regtype",
    )
    found = {
        name: sqlstate_of(
            caller,
            "create trigger t before insert on fake"
            f" for each row execute function pgqueue.{name}()",
        )
        for name in names
    }

    assert len(names) > 3
    assert set(found.values()) == {"42501"}


def test_the_owner_is_nobody_in_particular(db: Db) -> None:
    """What our SECURITY DEFINER functions run as: no login, no rights beside the schema."""
    owner = value(db, "select nspowner::regrole::text from pg_namespace where nspname = 'pgqueue'")
    attributes = db.execute(
        "select rolsuper, rolcanlogin, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication"
        " from pg_roles where rolname = %s",
        (owner,),
    ).fetchall()
    elsewhere = column(
        db,
        "select c.oid::regclass::text from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where c.relowner = %s::regrole and n.nspname not in ('pgqueue', 'pg_toast')",
        owner,
    )
    member_of = column(
        db, "select roleid::regrole::text from pg_auth_members where member = %s::regrole", owner
    )

    assert owner == "pgqueue_owner"
    assert attributes == [(False,) * 6]
    assert (elsewhere, member_of) == ([], [])
