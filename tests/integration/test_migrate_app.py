"""`pgqueue migrate --app`: an application's own SQL beside the schema pgqueue."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from pgqueue.cli.main import cli
from pgqueue.errors import (
    ConfigurationError,
    InvalidArgument,
    PermissionDenied,
    PgqueueError,
    SchemaMismatch,
)
from pgqueue.migrate import migrate
from pgqueue.migrate_app import app_migration_sql, migrate_app
from tests.support.psql import PsqlError, psql

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Connect

    Db = psycopg.Connection[Any]

TABLES = "create table shop.orders (id integer primary key);"
FUNCTION = """create or replace function shop.orders_number() returns bigint language sql
    begin atomic select count(*) from shop.orders; end;"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder sql of a package `shop` in the current directory."""
    folder = tmp_path / "shop" / "sql"
    (folder / "functions").mkdir(parents=True)
    (folder / "0001_tables.sql").write_text(TABLES)
    (folder / "functions" / "orders_number.sql").write_text(FUNCTION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


def recorded(db: Db) -> list[Any]:
    """What the core knows of applications."""
    return db.execute(
        "select app, version, name from pgqueue.app_migrations order by app, version"
    ).fetchall()


def owners(db: Db) -> set[Any]:
    """Who owns the application's schema and what is in it."""
    return {
        row[0]
        for row in db.execute(
            "select nspowner::regrole::text from pg_namespace where nspname = 'shop' union all"
            " select relowner::regrole::text from pg_class"
            " where relnamespace = 'shop'::regnamespace"
            " union all"
            " select proowner::regrole::text from pg_proc"
            " where pronamespace = 'shop'::regnamespace"
        )
    }


def test_migrations_run_once_and_functions_every_time(shop: Path, dsn: str, db: Db) -> None:
    """The second install finds the version, and puts back what somebody dropped."""
    first = migrate_app("shop", dsn)
    db.execute("insert into shop.orders values (1)")
    db.execute("drop function shop.orders_number()")
    (shop / "0002_names.sql").write_text("alter table shop.orders add name text;")

    second = migrate_app("shop", dsn)
    third = migrate_app("shop", dsn)

    assert (first.found, first.version, first.migrations) == (0, 1, ("0001_tables",))
    assert (second.found, second.version, second.migrations) == (1, 2, ("0002_names",))
    assert (third.found, third.migrations, third.files) == (2, (), 1)
    assert db.execute("select shop.orders_number(), o.* from shop.orders o").fetchall() == [
        (1, 1, None)
    ]
    assert recorded(db) == [("shop", 1, "0001_tables"), ("shop", 2, "0002_names")]


def test_what_an_application_needs_is_installed_before_it(shop: Path, dsn: str, db: Db) -> None:
    """Named in sql/needs.txt; said, and done once."""
    till = shop.parents[1] / "till" / "sql"
    till.mkdir(parents=True)
    (till / "0001_money.sql").write_text("create table till.money (order_id integer primary key);")
    (shop / "needs.txt").write_text("till\n")
    (shop / "0001_tables.sql").write_text(f"{TABLES} insert into till.money values (1);")
    planned = migrate_app("shop", dsn, dry_run=True)
    done, again = migrate_app("shop", dsn), migrate_app("shop", dsn)

    assert [line for line in planned.lines() if "migration" in line] == [
        "would run migration 0001_money",
        "would run migration 0001_tables",
    ]
    assert done.lines()[0] == "app till: found nothing, its files bring version 1"
    assert [one.migrations for one in again.needed] == [()]
    assert recorded(db) == [("shop", 1, "0001_tables"), ("till", 1, "0001_money")]


def test_applications_that_need_each_other_are_refused(shop: Path, dsn: str, db: Db) -> None:
    """The message shows the circle; nothing is installed."""
    till = shop.parents[1] / "till" / "sql"
    till.mkdir(parents=True)
    (till / "0001_money.sql").write_text("create table till.money (order_id integer primary key);")
    (till / "needs.txt").write_text("shop\n")
    (shop / "needs.txt").write_text("till\n")

    with pytest.raises(ConfigurationError, match="shop -> till -> shop"):
        migrate_app("shop", dsn)

    assert recorded(db) == []


def test_an_install_that_fails_leaves_nothing(shop: Path, dsn: str, db: Db) -> None:
    """Not even the schema; the message names the file and the line."""
    (shop / "functions" / "zoo.sql").write_text("select 1;\n\nselect nonsense;")

    with pytest.raises(PgqueueError, match=r"^shop/sql/functions/zoo\.sql line 3: .*nonsense"):
        migrate_app("shop", dsn)

    assert db.execute("select to_regnamespace('shop')").fetchone() == (None,)
    assert recorded(db) == []


def test_what_a_superuser_installs_belongs_to_the_schemas_owner(
    shop: Path, dsn: str, db: Db
) -> None:
    """A definer's function of a superuser would be one mistake away from the whole cluster."""
    assert shop.is_dir()
    (superuser,) = db.execute(
        "select rolsuper from pg_roles where rolname = current_user"
    ).fetchone() or (None,)
    if not superuser:
        pytest.skip("the tests do not run as a superuser here")

    migrate_app("shop", dsn)

    assert owners(db) == {"pgqueue_owner"}


def test_the_owner_of_the_database_needs_no_other_right(shop: Path, plain_owner: str) -> None:
    """He owns the schema pgqueue, and then the application's."""
    assert shop.is_dir()
    migrate(plain_owner)
    migrate_app("shop", plain_owner)

    with psycopg.connect(plain_owner) as conn:
        assert owners(conn) == {conn.info.user}
        assert conn.execute("select shop.orders_number()").fetchone() == (0,)


def test_without_the_schema_pgqueue_the_error_says_what_to_run_first(
    shop: Path, empty_dsn: str
) -> None:
    """Nothing is created."""
    assert shop.is_dir()
    with pytest.raises(SchemaMismatch, match="the schema pgqueue is not installed") as caught:
        migrate_app("shop", empty_dsn)

    assert "pgqueue migrate" in (caught.value.hint or "")


def test_who_does_not_own_the_schema_pgqueue_installs_no_application(
    shop: Path, dsn: str, connect: Connect, db: Db
) -> None:
    """An operator may do much, but not this."""
    assert shop.is_dir()
    name = f"stranger_{conninfo_to_dict(dsn)['dbname']}"
    db.execute(f"create role {name} login password 'x' in role pgqueue_operator")
    try:
        with pytest.raises(PermissionDenied, match="app_opened") as caught:
            migrate_app("shop", f"{dsn} user={name} password=x")
    finally:
        db.execute(f"drop role {name}")

    assert "owner of the schema pgqueue" in (caught.value.hint or "")
    assert recorded(connect()) == []


def test_a_schema_that_is_no_applications_is_left_alone(shop: Path, dsn: str, db: Db) -> None:
    """Whatever stands in it."""
    assert shop.is_dir()
    db.execute("create schema shop")

    with pytest.raises(InvalidArgument, match="a schema named shop exists, and is no application"):
        migrate_app("shop", dsn)


@pytest.mark.parametrize("name", ["public", "pgqueue", "pg_catalog", "Shop", "a b", ""])
def test_some_names_are_no_applications(db: Db, name: str) -> None:
    """Those of PostgreSQL's schemas and ours, and whatever needs quotes."""
    with pytest.raises(Exception, match="cannot be the name of an application") as caught:
        db.execute("select pgqueue.app_opened(%s)", [name])

    assert getattr(caught.value, "sqlstate", "") == "PQ006"


def test_a_newer_version_and_other_files_are_refused(shop: Path, dsn: str) -> None:
    """There is no way back, and two applications of one name would mix."""
    (shop / "0002_names.sql").write_text("alter table shop.orders add name text;")
    migrate_app("shop", dsn)

    (shop / "0002_names.sql").rename(shop / "0002_titles.sql")
    with pytest.raises(SchemaMismatch, match="2 of app shop was 0002_names here, and is 0002_tit"):
        migrate_app("shop", dsn)
    (shop / "0002_titles.sql").unlink()
    with pytest.raises(SchemaMismatch, match="has version 2 here, its files bring only 1"):
        migrate_app("shop", dsn, dry_run=True)


def test_two_installers_at_once_both_succeed(shop: Path, dsn: str, db: Db) -> None:
    """The second waits and finds the first one's work."""
    assert shop.is_dir()
    with ThreadPoolExecutor(2) as pool:
        done = [
            future.result(60) for future in [pool.submit(migrate_app, "shop", dsn) for _ in "ab"]
        ]

    assert sorted(len(one.migrations) for one in done) == [0, 1]
    assert recorded(db) == [("shop", 1, "0001_tables")]


def test_the_script_does_the_same_once(shop: Path, dsn: str, db: Db) -> None:
    """A second run of it is refused; the one for the next version upgrades."""
    _, script = app_migration_sql("shop", everything=True)
    psql(dsn, script)
    by_script = owners(db)
    with pytest.raises(PsqlError, match="upgrades shop from version 0, and found version 1"):
        psql(dsn, script)
    (shop / "0002_names.sql").write_text("alter table shop.orders add name text;")

    since, upgrade = app_migration_sql("shop", dsn)
    psql(dsn, upgrade)

    assert by_script == {
        owner
        for (owner,) in db.execute(
            "select nspowner::regrole::text from pg_namespace where nspname = 'pgqueue'"
        )
    }
    assert since == 1
    assert "create table" not in upgrade
    assert recorded(db) == [("shop", 1, "0001_tables"), ("shop", 2, "0002_names")]
    assert migrate_app("shop", dsn, dry_run=True).migrations == ()


def test_the_command_says_what_it_would_do_and_what_it_did(shop: Path, dsn: str, db: Db) -> None:
    """--dry-run changes nothing; --sql prints the script."""
    assert shop.is_dir()
    words = ["migrate", "--dsn", dsn, "--app", "shop"]
    plan = CliRunner().invoke(cli, [*words, "--dry-run"])
    before = recorded(db)
    script = CliRunner().invoke(cli, [*words, "--sql", "--all", "--no-transaction"])
    done = CliRunner().invoke(cli, words)

    assert plan.output.splitlines()[:2] == [
        "app shop: found nothing, its files bring version 1",
        "would run migration 0001_tables",
    ]
    assert before == []
    assert TABLES in script.output
    assert "commit;" not in script.output
    assert done.exit_code == 0, done.output
    assert recorded(db) == [("shop", 1, "0001_tables")]


def test_what_is_recorded_survives_an_upgrade_of_the_core(shop: Path, dsn: str, db: Db) -> None:
    """And drift() has nothing to say about applications."""
    assert shop.is_dir()
    migrate_app("shop", dsn)
    done = CliRunner().invoke(cli, ["migrate", "--dsn", dsn])

    assert done.exit_code == 0, done.output
    assert recorded(db) == [("shop", 1, "0001_tables")]
    assert db.execute("select * from pgqueue.drift()").fetchall() == []
