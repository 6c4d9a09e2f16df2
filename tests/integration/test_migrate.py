from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgqueue import calls
from pgqueue import migrate as module
from pgqueue.connection import connect
from pgqueue.errors import DatabaseUnavailable, PermissionDenied, PgqueueError, SchemaMismatch
from pgqueue.migrate import installed_version, migrate, migration_sql
from pgqueue.sqlfiles import Manifest, SqlFile, manifest
from tests.support.databases import violations
from tests.support.psql import INSTALL_SQL, PsqlError, psql

if TYPE_CHECKING:
    from tests.support.cluster import Cluster

VERSION = manifest().version


def catalogue(dsn: str) -> list[Any]:
    """Everything that the schema holds, with fingerprints."""
    with psycopg.connect(dsn) as conn:
        return conn.execute("select * from pgqueue.catalogue() order by 1, 2").fetchall()


def with_migration(text: str, name: str = "more") -> Manifest:
    """Return the manifest of a later version of the library."""
    version = VERSION + 1
    path = f"migrations/{version:04}_{name}.sql"
    known = manifest()
    return replace(known, migrations=(*known.migrations, SqlFile(path, text, version)))


def later() -> Manifest:
    """A migration that does something and records itself."""
    return with_migration(
        "create table pgqueue.more (id int);\ninsert into pgqueue.migrations (version, name)"
        f" values ({VERSION + 1}, 'more');"
    )


def test_a_migrated_schema_is_the_same_as_one_that_psql_installed(dsn: str, empty_dsn: str) -> None:
    """Object by object: columns, constraints, functions, grants."""
    done = migrate(empty_dsn)

    assert (done.found, done.version) == (0, VERSION)
    assert done.migrations[0] == "0001_core"
    assert done.changes
    assert catalogue(empty_dsn) == catalogue(dsn)
    assert violations(empty_dsn) == []


def test_psql_says_in_one_line_what_it_has_installed(empty_dsn: str) -> None:
    """The schema's version and the next step; with -q nothing, and -q or not stays as it was."""
    name = conninfo_to_dict(empty_dsn)["dbname"]
    line = f"pgqueue is installed in {name}, schema version {VERSION}."
    told = psql(empty_dsn, f"\\i {INSTALL_SQL}\n\\echo :QUIET", variables={"QUIET": "off"})
    quiet = psql(empty_dsn, f"\\i {INSTALL_SQL}\n\\echo :QUIET")

    assert told.splitlines() == [f"{line} Next: pgqueue doctor, then a worker.", "off"]
    assert quiet == "on"


def test_migrating_again_changes_nothing(dsn: str) -> None:
    """It is safe in every start script."""
    before = catalogue(dsn)

    done = migrate(dsn)

    assert (done.found, done.migrations, done.changes) == (VERSION, (), ())
    assert catalogue(dsn) == before


def test_a_dry_run_says_what_would_be_done_and_does_nothing(empty_dsn: str) -> None:
    """Not even the schema is created."""
    plan = migrate(empty_dsn, dry_run=True)

    assert plan.dry_run
    assert plan.migrations[0] == "0001_core"
    assert "would run migration 0001_core" in plan.lines()
    assert installed_version(empty_dsn) == 0


def test_only_the_migrations_that_have_not_run_are_run(dsn: str) -> None:
    """A later version of the library brings one more."""
    done = migrate(dsn, files=later())

    assert (done.found, done.version) == (VERSION, VERSION + 1)
    assert done.migrations == (f"{VERSION + 1:04}_more",)
    assert "added table more" in done.lines()
    assert installed_version(dsn) == VERSION + 1


def test_what_somebody_changed_is_put_back(dsn: str, db: psycopg.Connection[Any]) -> None:
    """Functions, views and grants are replaced every time."""
    before = catalogue(dsn)
    db.execute("drop view pgqueue.health cascade")
    db.execute("grant execute on function pgqueue.verify() to public")

    migrate(dsn)

    assert {row[1] for row in before} == {row[1] for row in catalogue(dsn)}
    with connect(dsn) as conn:
        assert calls.run(conn, calls.drift()) == []


def test_two_migrators_at_once_both_succeed_and_one_of_them_installs(empty_dsn: str) -> None:
    """The second waits for the first and finds its work done."""
    barrier = threading.Barrier(2)

    def work() -> module.Migration:
        barrier.wait(20)
        return migrate(empty_dsn)

    with ThreadPoolExecutor(2) as pool:
        done = [future.result(60) for future in [pool.submit(work), pool.submit(work)]]

    assert sorted(result.found for result in done) == [0, VERSION]
    assert violations(empty_dsn) == []


def test_the_owner_of_the_database_needs_no_other_right(plain_owner: str) -> None:
    """No superuser, no CREATEROLE: he owns the schema, and everything works."""
    migrate(plain_owner)

    with connect(plain_owner) as conn:
        job_id = calls.run(conn, calls.enqueue("a"))
        assert calls.run(conn, calls.status(job_id)).status == "queued"
        assert calls.run(conn, calls.drift()) == []
        owner = conn.execute(
            "select nspowner = current_user::regrole from pg_namespace where nspname = 'pgqueue'"
        ).fetchone()
        assert owner == (True,)
    assert migrate(plain_owner).changes == ()


def test_who_may_not_install_is_told_what_it_takes(
    plain_owner: str, dsn: str, cluster: Cluster
) -> None:
    """CREATE on the database, or membership in the schema's owner."""
    login = conninfo_to_dict(plain_owner)
    with pytest.raises(PermissionDenied, match="pgqueue"):
        migrate(make_conninfo(dsn, user=str(login["user"]), password="x"))

    with pytest.raises(PermissionDenied, match="CREATE on the database"):
        migrate(make_conninfo(plain_owner, dbname=cluster.maintenance_dbname))


def test_a_newer_schema_is_refused(dsn: str) -> None:
    """There is no way back."""
    migrate(dsn, files=later())
    before = catalogue(dsn)

    for dry_run in (True, False):
        with pytest.raises(SchemaMismatch, match=f"version {VERSION + 1}, .* only {VERSION}"):
            migrate(dsn, dry_run=dry_run)
    assert catalogue(dsn) == before


def test_a_migration_that_fails_leaves_the_schema_as_it_was(dsn: str) -> None:
    """The error names the file and the line."""
    before = catalogue(dsn)
    broken = with_migration("create table pgqueue.more (id int);\n\nselect nonsense;")

    with pytest.raises(PgqueueError, match=r"sql/migrations/\d+_more\.sql line 3: .*nonsense"):
        migrate(dsn, files=broken)
    with pytest.raises(PgqueueError, match="does not record itself"):
        migrate(dsn, files=with_migration("select 1;"))

    assert catalogue(dsn) == before
    assert installed_version(dsn) == VERSION


def test_a_schema_of_that_name_that_is_not_ours_is_left_alone(empty_dsn: str) -> None:
    """The error names its owner."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("create schema pgqueue")

    with pytest.raises(PgqueueError, match="is not ours"):
        migrate(empty_dsn)


def test_a_lock_that_is_not_granted_is_given_up_and_tried_again(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a lock on pgqueue.jobs holds up every producer behind him."""
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.1)
    with psycopg.connect(dsn) as holder:
        holder.execute("insert into pgqueue.jobs (job_type) values ('a')")
        monkeypatch.setattr(module, "LOCK_ATTEMPTS", 1)
        with pytest.raises(DatabaseUnavailable, match="lock was not granted"):
            migrate(dsn)

        monkeypatch.setattr(module, "LOCK_ATTEMPTS", 10)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(migrate, dsn)
            with psycopg.connect(dsn, autocommit=True) as producer:
                producer.execute("set statement_timeout = '10s'")
                producer.execute("insert into pgqueue.jobs (job_type) values ('b')")
            holder.commit()
            assert waiting.result(60).changes == ()


def test_the_script_installs_the_same_schema_through_psql_and_only_once(
    dsn: str, empty_dsn: str
) -> None:
    """Plain SQL for EF, Flyway or a DBA."""
    psql(empty_dsn, migration_sql())

    assert catalogue(empty_dsn) == catalogue(dsn)
    with pytest.raises(PsqlError, match=f"from version 0, and found version {VERSION}"):
        psql(empty_dsn, migration_sql())
    assert catalogue(empty_dsn) == catalogue(dsn)


def test_the_script_of_an_upgrade_runs_what_is_pending(dsn: str) -> None:
    """And replaces what is always replaced."""
    psql(dsn, migration_sql(since=VERSION, files=later()))

    assert installed_version(dsn) == VERSION + 1
    assert ("table", "more") in {row[:2] for row in catalogue(dsn)}


def test_the_script_runs_in_a_tools_own_transaction(dsn: str, empty_dsn: str) -> None:
    """And leaves the tool its own role, to write down what it did."""
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("create table history (what text)")
        conn.execute(migration_sql(transaction=False).encode())
        conn.execute("insert into history values ('pgqueue')")

    assert catalogue(empty_dsn) == catalogue(dsn)
