"""Finding an application and reading its SQL."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from pgqueue.applications import find_application
from pgqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a package `shop`, which cannot be imported, and is the current directory's."""
    folder = tmp_path / "shop"
    for part in ("functions", "views", "shown"):
        (folder / "sql" / part).mkdir(parents=True)
    (folder / "__init__.py").write_text("import no_such_client_library")
    for name in (
        "0001_orders",
        "0002_lines",
        "functions/b",
        "functions/a",
        "views/v",
        "roles",
        "shown/look",
    ):
        (folder / "sql" / f"{name}.sql").write_text(f"select '{name}';")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


def test_files_run_in_the_order_of_their_kinds_and_names(shop: Path) -> None:
    """Migrations by number, functions, views, grants last; what is shown is not installed."""
    app = find_application("shop:jobs")
    files = app.sql()

    assert (app.name, app.folder, app.root) == ("shop", shop, shop.parent)
    assert [(file.path, file.version) for file in files.migrations] == [
        ("shop/sql/0001_orders.sql", 1),
        ("shop/sql/0002_lines.sql", 2),
    ]
    assert [file.name for file in files.after] == ["a", "b", "v", "roles"]
    assert files.version == 2


def test_a_file_of_which_nobody_knows_when_it_runs_is_refused(shop: Path) -> None:
    """It would never run, and nobody would notice."""
    (shop / "sql" / "003_typo.sql").write_text("select 1;")

    with pytest.raises(ConfigurationError, match=r"003_typo\.sql is neither NNNN_NAME\.sql"):
        find_application("shop").sql()


@pytest.mark.parametrize("name", ["function/a.sql", "functions/old/a.sql", "triggers/t.sql"])
def test_a_file_in_a_folder_that_is_not_installed_is_refused(shop: Path, name: str) -> None:
    """A folder with a typing error would be left out, and nobody would notice."""
    path = shop / "sql" / name
    path.parent.mkdir(parents=True)
    path.write_text("select 1;")

    with pytest.raises(ConfigurationError, match=rf"{name} is in no folder that is installed"):
        find_application("shop").sql()


@pytest.mark.parametrize(
    ("change", "text", "error"),
    [
        ("0004_far", "select 1;", "numbered [1, 2, 4], not from 1 on"),
        ("functions/a", "\\set x 1", "shop/sql/functions/a.sql line 1: a psql command"),
        ("functions/a", "-- \udcff", "shop/sql/functions/a.sql is no UTF-8"),
    ],
)
def test_files_that_cannot_be_installed_are_refused(
    shop: Path, change: str, text: str, error: str
) -> None:
    """Before anything is asked of a server."""
    file = shop / "sql" / f"{change}.sql"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(ConfigurationError, match=re.escape(error)):
        find_application("shop").sql()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("no_such_app", "there is no package no_such_app"),
        ("no_such_app.market", "there is no package no_such_app"),
        ("shop/sql", "'shop/sql' is not the name of a module"),
        ("pgqueue.log", "is a module; SQL is the matter of a package"),
    ],
)
def test_what_is_no_package_is_named(shop: Path, name: str, error: str) -> None:
    """With a hint where to look."""
    assert shop.is_dir()
    with pytest.raises(ConfigurationError, match=re.escape(error)) as caught:
        find_application(name)

    assert caught.value.hint


def test_a_package_without_sql_says_so(shop: Path) -> None:
    """`--app pgqueue` is no way to install the schema pgqueue."""
    assert shop.is_dir()
    with pytest.raises(ConfigurationError, match="app tests has no SQL"):
        find_application("tests").sql()
