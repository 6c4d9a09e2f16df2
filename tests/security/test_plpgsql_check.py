"""The body of every plpgsql function, read by plpgsql_check: what CREATE FUNCTION lets pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import column, value

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_FUNCTIONS = """
    select p.oid, p.oid::regprocedure::text, t.tgrelid::regclass::text, t.tgoldtable, t.tgnewtable,
        p.prorettype = 'trigger'::regtype
    from pg_proc p
    join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
    left join pg_trigger t on t.tgfoid = p.oid and not t.tgisinternal
    where p.pronamespace = 'pgqueue'::regnamespace
        -- It cannot know the fields of a record that is an argument.
        and 'record'::regtype <> all (p.proargtypes)
    order by 2, 3
"""
_CHECK = """
    select concat_ws(' ', %s::text, %s::text, 'line', c.lineno, c.level, c.message, c.detail)
    from plpgsql_check_function_tb(%s, coalesce(%s::regclass, 0), oldtable => %s::name,
        newtable => %s::name, fatal_errors => false, performance_warnings => false,
        security_warnings => true) c
"""


@pytest.fixture
def checked(db: Db) -> Db:
    """The database with the extension in it, and with the trigger that comes with a fair queue."""
    if value(db, "select count(*) from pg_available_extensions where name = 'plpgsql_check'") == 0:
        pytest.skip("plpgsql_check is not there: PG=15 and apt install postgresql-15-plpgsql-check")
    db.execute("create extension plpgsql_check")
    db.execute("select pgqueue.set_fairness('default')")
    return db


def _problems(db: Db) -> list[str]:
    return [
        problem
        for oid, name, relation, old, new, _ in db.execute(_FUNCTIONS).fetchall()
        for problem in column(db, _CHECK, name, relation, oid, relation, old, new)
    ]


def test_plpgsql_check_finds_nothing(checked: Db) -> None:
    """No error, no warning, no SQL that could be injected; triggers with each of their tables."""
    assert _problems(checked) == []


def test_every_trigger_function_has_a_table_to_be_checked_with(checked: Db) -> None:
    """Without one, plpgsql_check could not know what NEW is."""
    found = [
        name
        for _, name, relation, _, _, trigger in checked.execute(_FUNCTIONS).fetchall()
        if trigger and relation is None
    ]

    assert found == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("begin perform x.nothing from pgqueue.ready x; end", "nothing"),
        ("declare v text; begin execute 'select ' || p_text; end", "injection"),
        ("begin return; perform 1; end", "unreachable"),
    ],
)
def test_plpgsql_check_can_fail(checked: Db, body: str, problem: str) -> None:
    """A column that does not exist, SQL from a parameter, code after the end."""
    checked.execute(
        "create function pgqueue.oops(p_text text) returns void language plpgsql"
        f" set search_path = pg_catalog, pg_temp as $$ {body} $$"
    )

    assert any("oops" in found and problem in found for found in _problems(checked))
