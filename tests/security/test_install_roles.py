"""Installing with and without the right to create roles, and installing again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.cluster import CONNECT_SECONDS
from tests.support.psql import INSTALL_SQL, SQL_DIR, psql, psql_result
from tests.support.sqljobs import claim_one, column, insert, value

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROLES = ["pgqueue_operator", "pgqueue_producer", "pgqueue_viewer", "pgqueue_worker"]


@pytest.fixture
def owner_dsn(empty_dsn: str) -> Iterator[str]:
    """Conninfo of `empty_dsn` as its owner: neither superuser nor CREATEROLE."""
    with psycopg.connect(empty_dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as db:
        name = f"{db.info.dbname}_owner"
        db.execute(f"create role {name} login password 'scratch'")
        db.execute(f"alter database {db.info.dbname} owner to {name}")
        yield f"{empty_dsn} user={name} password=scratch"
        db.execute(f"reassign owned by {name} to current_user")
        db.execute(f"drop owned by {name}")
        db.execute(f"drop role {name}")


def test_a_database_owner_installs_and_works(owner_dsn: str) -> None:
    """Without superuser and without CREATEROLE: everything is his, and a job lives its life."""
    psql(owner_dsn, file=INSTALL_SQL)
    with psycopg.connect(owner_dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as db:
        insert(db)
        db.execute("select pgqueue.complete(%s, %s)", claim_one(db).owned)
        owners = column(
            db,
            "select distinct pg_get_userbyid(relowner) from pg_class"
            " where relnamespace = 'pgqueue'::regnamespace",
        )

        assert column(db, "select status from pgqueue.job_status") == ["succeeded"]
        assert column(db, "select status from pgqueue.health limit 1") != []
        assert owners == [db.info.user]


def test_without_the_right_to_create_roles_the_install_goes_without(
    owner_dsn: str, empty_dsn: str
) -> None:
    """It warns once per role, grants to those that exist, and succeeds."""
    psql(owner_dsn, file=INSTALL_SQL)
    with psycopg.connect(owner_dsn, connect_timeout=CONNECT_SECONDS) as db:
        owner = db.info.user
    # Roles belong to the whole server: they are out of the way in this transaction only.
    script = "".join(f"alter role {role} rename to {role}_away;\n" for role in _ROLES[:2])
    printed = psql_result(
        empty_dsn,
        f"begin;\n{script}set local session authorization {owner};\n"
        f"\\i {SQL_DIR / 'roles.sql'}\n"
        "select current_user, has_table_privilege('pgqueue_viewer', 'pgqueue.jobs', 'select');\n"
        "rollback;",
    )

    assert (printed.returncode, printed.stdout.strip()) == (0, f"{owner}|t")
    assert printed.stderr.count("WARNING:  no right to create role") == 2


def test_tenants_work_for_a_plain_owner(owner_dsn: str) -> None:
    """He owns the tables: row-level security is his to switch on."""
    psql(owner_dsn, file=INSTALL_SQL)
    with psycopg.connect(owner_dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as db:
        db.execute("select pgqueue.enable_tenants()")
        insert(db, tenant_id="a")

        assert column(db, "select tenant_id from pgqueue.job_status") == ["a"]
        assert db.execute("select * from pgqueue.drift()").fetchall() == []


def test_installing_again_changes_nothing(owner_dsn: str) -> None:
    """Neither jobs nor grants of the owner's own, nor the row security that he switched on."""
    psql(owner_dsn, file=INSTALL_SQL)
    with psycopg.connect(owner_dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as db:
        insert(db)
        db.execute("select pgqueue.enable_tenants()")
        db.execute("grant execute on function pgqueue.retry(uuid) to pg_monitor")
        before = column(db, "select fingerprint from pgqueue.catalogue() order by kind, name")
        printed = psql_result(owner_dsn, file=INSTALL_SQL)
        after = column(db, "select fingerprint from pgqueue.catalogue() order by kind, name")

        assert (printed.returncode, printed.stdout) == (0, "")
        assert before == after
        assert value(db, "select count(*) from pgqueue.jobs") == 1
        assert value(
            db, "select has_function_privilege('pg_monitor', 'pgqueue.retry(uuid)', 'execute')"
        )
        assert value(db, "select relrowsecurity from pg_class where oid = 'pgqueue.jobs'::regclass")
        assert db.execute("select * from pgqueue.drift()").fetchall() == []


def test_a_superusers_install_belongs_to_nobody_who_can_log_in(empty_dsn: str) -> None:
    """SECURITY DEFINER functions run as pgqueue_owner, which has no rights elsewhere."""
    psql(empty_dsn, file=INSTALL_SQL)
    with psycopg.connect(empty_dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as db:
        owners = column(
            db,
            "select distinct r.rolname || r.rolcanlogin || r.rolsuper from pg_proc p"
            " join pg_roles r on r.oid = p.proowner"
            " where p.pronamespace = 'pgqueue'::regnamespace",
        )

        assert owners == ["pgqueue_ownerfalsefalse"]


def test_the_installer_keeps_the_role_that_he_had(empty_dsn: str) -> None:
    """The script becomes the owner for its transaction only."""
    found = psql(empty_dsn, f"\\i {INSTALL_SQL}\nselect current_user = session_user;")

    assert found == "t"


def test_the_roles_are_there_with_a_comment_each(empty_dsn: str) -> None:
    """Created by the first install on the server that may; none of them can log in."""
    psql(empty_dsn, file=INSTALL_SQL)
    with psycopg.connect(empty_dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as db:
        found = db.execute(
            "select rolname, rolcanlogin, rolsuper, rolinherit,"
            " shobj_description(oid, 'pg_authid') like 'pgqueue: %%' from pg_roles"
            " where rolname = any (%s) order by 1",
            (_ROLES,),
        ).fetchall()

    assert found == [(name, False, False, True, True) for name in _ROLES]
