"""Jobs that call a SQL function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.applications import survive_kill
from tests.support.wait import eventually
from tests.support.workers import attempts, enqueue, status, work_off

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgqueue import Registry

    Database = psycopg.Connection[Any]

APP = "workers.tasks"


@pytest.fixture
def shop(installed: Database) -> Database:
    """A function of the user's that writes, and one that fails."""
    installed.execute("""
        create schema shop;
        create table shop.closed (day date primary key, by_job text);
        create function shop.close_day(p jsonb) returns jsonb language plpgsql as $$
        begin
            insert into shop.closed (day) values ((p ->> 'day')::date);
            return jsonb_build_object('closed', p ->> 'day');
        end $$;
        create function shop.wait_at_gate(p jsonb) returns jsonb language plpgsql as $$
        begin
            insert into shop.closed (day) values ((p ->> 'day')::date);
            perform pg_advisory_xact_lock(4711);
            return null;
        end $$;
        select tasks.allow('close_day', 'shop.close_day');
        select tasks.allow('wait_at_gate', 'shop.wait_at_gate');
    """)
    return installed


def result(db: Database, job_id: Any) -> Any:
    """What the view shows."""
    row = db.execute(
        "select result, errors from pgqueue.finished where job_id = %s", (job_id,)
    ).fetchone()
    assert row is not None
    return row


def days(db: Database) -> int:
    """How many days are closed."""
    row = db.execute("select count(*) from shop.closed").fetchone()
    assert row is not None
    return int(row[0])


def test_a_job_calls_an_allowed_function(dsn: str, shop: Database, app: Registry) -> None:
    """Arguments go in as jsonb; what it returns is the result; what it writes stays."""
    job_id = enqueue(shop, "sql_task", function="close_day", arguments={"day": "2026-01-31"})

    work_off(app, dsn)

    assert status(shop, job_id) == "succeeded"
    assert result(shop, job_id)[0] == {"returned": {"closed": "2026-01-31"}}
    assert days(shop) == 1


def test_an_error_of_the_function_leaves_nothing_behind(
    dsn: str, shop: Database, app: Registry
) -> None:
    """The same day twice: the second job's attempt fails and is tried again later."""
    enqueue(shop, "sql_task", function="close_day", arguments={"day": "2026-01-31"})
    work_off(app, dsn)
    again = enqueue(shop, "sql_task", function="close_day", arguments={"day": "2026-01-31"})
    work_off(app, dsn)

    assert (status(shop, again), attempts(shop, again)) == ("retrying", ["retrying"])
    assert days(shop) == 1


@pytest.mark.parametrize(
    "name",
    ["shop.close_day", "close_day; drop table shop.closed", "pg_sleep", "", "close_day'", '"'],
)
def test_nothing_else_can_be_called(dsn: str, shop: Database, app: Registry, name: str) -> None:
    """A job names an entry of the list, not a function; it fails at once and for good."""
    job_id = enqueue(shop, "sql_task", function=name)

    work_off(app, dsn)

    assert status(shop, job_id) == "failed"
    assert result(shop, job_id)[1][0]["code"] == "function_not_allowed"


@pytest.mark.parametrize(
    "function",
    ["shop.nothing", "pg_catalog.jsonb_array_elements", "pg_catalog.jsonb_agg", "now", "shop..x"],
)
def test_only_functions_of_jsonb_to_jsonb_can_be_allowed(shop: Database, function: str) -> None:
    """No sets, no aggregates, nothing that does not exist: 42883 or a syntax error."""
    with pytest.raises((psycopg.errors.UndefinedFunction, psycopg.errors.SyntaxError)):
        shop.execute("select tasks.allow('x', %s)", (function,))


def test_workers_may_run_the_list_and_not_change_it(
    shop: Database, connect: Callable[..., Database]
) -> None:
    """The role of workers has run(), and neither allow() nor the table's writes."""
    shop.execute("grant usage on schema shop to pgqueue_worker")
    shop.execute("grant insert on shop.closed to pgqueue_worker")
    worker = connect(role="pgqueue_worker")
    returned = worker.execute(
        "select tasks.run('close_day', '{\"day\": \"2026-02-01\"}')"
    ).fetchone()

    assert returned == ({"closed": "2026-02-01"},)
    for forbidden in (
        "select tasks.allow('x', 'shop.close_day')",
        "insert into tasks.allowed_functions values ('x', 'shop', 'close_day')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute(forbidden)


def test_a_kill_in_the_middle_leaves_the_effect_once(
    dsn: str, shop: Database, connect: Callable[..., Database], tmp_path: Path
) -> None:
    """The worker dies by SIGKILL while the function runs; the next one does it, exactly once."""
    gate = connect()
    gate.execute("select pg_advisory_lock(4711)")
    job_id = enqueue(shop, "sql_task", function="wait_at_gate", arguments={"day": "2026-03-01"})
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    ended = survive_kill(
        dsn,
        shop,
        tmp_path,
        APP,
        job_id,
        middle=lambda: eventually(
            lambda: shop.execute(waiting).fetchone() == (1,), seconds=20, what="it runs"
        ),
        after=lambda: gate.execute("select pg_advisory_unlock(4711)"),
    )

    assert ended.status == "succeeded"
    assert (attempts(shop, job_id), days(shop)) == (["lost"], 1)
