"""`pgqueue new`: what it writes works, and what exists stays."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue.scaffold import problem_of
from tests.support.cli import program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cluster import Cluster

SECONDS = 90


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A new application."""
    made = program("new", "shop", "--below", str(tmp_path))
    assert made.returncode == 0, made.stderr
    return tmp_path / "shop"


def run(shop: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a module of Python there."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=shop,
        env={**os.environ, "PYTEST_ADDOPTS": "-p no:randomly -p no:cacheprovider", **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_its_tests_pass_as_it_is(shop: Path, cluster: Cluster) -> None:
    """Handler, SQL, migration and tests fit together, on a real server."""
    done = run(shop, "pytest", "-q", PGQUEUE_TEST_DSN=cluster.dsn(cluster.maintenance_dbname))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_its_demo_plays(shop: Path, cluster: Cluster) -> None:
    """`make demo` installs it, runs a real worker, and shows that repeating changes nothing."""
    dsn = cluster.dsn(cluster.maintenance_dbname)
    done = run(shop, "pgqueue", "demo", "--app", "shop", PGQUEUE_DSN=dsn)

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"created": 0, "skipped": 1' in done.stdout


@pytest.mark.parametrize("words", [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)])
def test_it_is_clean(shop: Path, words: tuple[str, ...]) -> None:
    """Ruff and mypy, with the settings that it brings, have nothing to say."""
    done = run(shop, *words)

    assert done.returncode == 0, done.stdout + done.stderr


def test_its_make_targets_are_listed(shop: Path) -> None:
    """`make` alone says what there is."""
    make = ["make", "--no-print-directory"]
    done = subprocess.run(
        make, cwd=shop, capture_output=True, text=True, timeout=SECONDS, check=False
    )

    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        "help",
        "demo",
        "migrate",
        "worker",
        "enqueue",
        "test",
    ]


def test_nothing_that_exists_is_touched(shop: Path) -> None:
    """The second run is refused, and leaves no trace."""
    (shop / "README.md").write_text("mine")
    again = program("new", "shop", "--below", str(shop.parent))

    assert (again.returncode, (shop / "README.md").read_text()) == (2, "mine")
    assert "exists already" in again.stderr
    assert [path.name for path in shop.parent.iterdir()] == ["shop"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Shop", "is not a name"),
        ("my-shop", "is not a name"),
        ("../shop", "is not a name"),
        ("1shop", "is not a name"),
        ("x" * 41, "is not a name"),
        ("pg_shop", "PostgreSQL keeps"),
        ("public", "PostgreSQL keeps"),
        ("order", "reserved word"),
        ("class", "reserved word"),
        ("json", "exists already"),
        ("pgqueue", "exists already"),
    ],
)
def test_a_name_that_would_not_work_is_refused(name: str, why: str) -> None:
    """It must do as a directory, a package and a schema."""
    assert why in str(problem_of(name))


def test_reserved_words_are_those_of_the_server(db: Any) -> None:
    """Whatever this server reserves is refused."""
    words = db.execute("select word from pg_get_keywords() where catcode in ('R', 'T')").fetchall()

    assert [word for (word,) in words if problem_of(word) is None] == []
