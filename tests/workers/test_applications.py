"""What holds for every application in workers/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue.migrate_app import migrate_app
from tests.support.psql import REPOSITORY, SQL_DIR

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from tests.support.cluster import Cluster

    Db = psycopg.Connection[Any]

APPS = sorted(file.parents[1].name for file in (REPOSITORY / "workers").glob("*/sql/0001_*.sql"))
# Beside pgqueue's own, which has a test of its own.
DEMOS = [
    app for app in APPS if app != "demo" and (REPOSITORY / "workers" / app / "demo.py").is_file()
]
LINTS = sorted((SQL_DIR / "lint").glob("*.sql"))


@pytest.mark.parametrize("app", APPS)
def test_its_schema_passes_the_lints(app: str, dsn: str, db: Db) -> None:
    """Comments, search paths, grants, keys: as in the schema pgqueue."""
    migrate_app(f"workers.{app}", dsn)
    found = {
        lint.stem: db.execute(
            lint.read_text("utf-8").replace("'pgqueue'::regnamespace", f"'{app}'::regnamespace")
        ).fetchall()
        for lint in LINTS
    }

    assert {name: rows for name, rows in found.items() if rows} == {}


@pytest.mark.parametrize("app", APPS)
def test_its_sql_can_be_installed_again(app: str, dsn: str, db: Db) -> None:
    """Functions, views and grants are replaced; what is there stays."""
    first = migrate_app(f"workers.{app}", dsn)
    again = migrate_app(f"workers.{app}", dsn)

    assert (first.found, again.found, again.migrations) == (0, first.version, ())
    assert db.execute("select * from pgqueue.drift()").fetchall() == []


@pytest.mark.parametrize("app", DEMOS)
def test_its_demo_succeeds_from_any_directory(app: str, cluster: Cluster, tmp_path: Path) -> None:
    """As `make NAME` runs it, on the server that the environment names."""
    done = subprocess.run(
        [sys.executable, "-m", "pgqueue", "demo", "--app", f"workers.{app}"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PGQUEUE_DSN": cluster.dsn(cluster.maintenance_dbname),
            "PYTHONPATH": str(REPOSITORY),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "==> Check the invariants of all tables" in done.stdout


def test_every_demo_has_a_make_target_with_help() -> None:
    """`make` lists it with a word on what it shows."""
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    (named,) = re.findall(r"^APPS := (.*)$", makefile, re.MULTILINE)
    explained = set(re.findall(r"^([a-z-]+):.*## .", makefile, re.MULTILINE))

    assert sorted(named.split()) == DEMOS
    assert {"demo", *DEMOS} - explained == set()
