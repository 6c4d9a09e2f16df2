"""Nothing of ours is worth compiling (JIT), which servers do by default when the guess is high."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgqueue.connection import connect
from tests.support.sqljobs import column, value

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_NAMES = """
select p.proname from pg_proc p
where p.pronamespace = 'pgqueue'::regnamespace and p.pronargs = p.pronargdefaults
    and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
order by p.proname
"""
_VIEWS = """
select c.relname from pg_class c
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind = 'v' order by c.relname
"""


@pytest.fixture
def plans(db: Db) -> list[str]:
    """The plans of all statements that follow, those within functions too."""
    if not value(db, "select pg_jit_available()"):
        pytest.skip("this server is built without LLVM: it compiles nothing")
    seen: list[str] = []
    db.add_notice_handler(lambda notice: seen.append(notice.message_primary or ""))
    db.execute("load 'auto_explain'")
    db.execute("set jit = on; set client_min_messages = log; set auto_explain.log_level = 'log'")
    db.execute("set auto_explain.log_nested_statements = on; set auto_explain.log_analyze = on")
    db.execute("set auto_explain.log_min_duration = 0")
    return seen


def test_plans_that_are_compiled_are_seen(db: Db, plans: list[str]) -> None:
    """Else the other tests here could not fail."""
    db.execute("set jit_above_cost = 0; select count(*) from pgqueue.jobs")

    assert any("\nJIT:" in plan for plan in plans)


def test_no_function_is_compiled(db: Db, plans: list[str]) -> None:
    """Those that can be called without arguments, on tables without statistics."""
    db.execute(
        "select pgqueue.set_fairness('f'); select pgqueue.set_tenant_quota('a', 9, 9999, 99)"
    )
    db.execute("insert into pgqueue.jobs (job_type, queue, tenant_id) values ('t', 'f', 'a')")
    names: list[Any] = column(db, _NAMES)
    for name in names:
        db.execute(f"select * from pgqueue.{name}()")

    assert "verify" in names
    assert [plan for plan in plans if "\nJIT:" in plan] == []


def test_no_view_of_a_new_queue_is_compiled(db: Db, plans: list[str]) -> None:
    """Read whole, on tables without statistics."""
    views: list[Any] = column(db, _VIEWS)
    for view in views:
        db.execute(f"select * from pgqueue.{view}")

    assert "job_status" in views
    assert [plan for plan in plans if "\nJIT:" in plan] == []


def test_our_own_connections_compile_nothing(dsn: str) -> None:
    """A month of jobs read through a view is a dear plan; compiling it made it slower."""
    with connect(dsn) as connection:
        found = value(connection, "show jit")

    assert found == "off"
