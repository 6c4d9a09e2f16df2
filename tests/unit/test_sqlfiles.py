from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgqueue.errors import ConfigurationError, SchemaMismatch
from pgqueue.migrate import migration_sql
from pgqueue.sqlfiles import find_sql_dir, manifest, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

INSTALL = "\\set x 1\nbegin;\n\\ir prepare.sql\n\\if :x\n\\ir migrations/0001_core.sql\n\\endif\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small folder sql."""
    (tmp_path / "migrations").mkdir()
    for name in ("prepare", "migrations/0001_core", "record"):
        (tmp_path / f"{name}.sql").write_text(f"select '{name}';\n")
    (tmp_path / "install.sql").write_text(INSTALL + "\\ir record.sql\ncommit;\n")
    return tmp_path


def test_the_manifest_names_every_sql_file_of_the_product() -> None:
    """A file that install.sql does not name would never be installed."""
    known = manifest()
    listed = {file.path for file in (*known.before, *known.migrations, *known.after)}
    folder = find_sql_dir()
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.sql")}

    assert {p for p in there - listed if not p.startswith("lint/")} == {"install.sql"}
    assert known.before[0].name == "prepare"
    assert known.after[-1].name == "record"


def test_files_keep_their_order_and_migrations_stand_apart(folder: Path) -> None:
    """Checks first, then the tables, then what is replaced every time."""
    read = read_manifest(folder)

    assert [file.path for file in read.before] == ["prepare.sql"]
    assert [(file.path, file.version) for file in read.migrations] == [
        ("migrations/0001_core.sql", 1)
    ]
    assert [file.path for file in read.after] == ["record.sql"]
    assert read.version == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("install.sql", INSTALL + "\\copy x from y\n", "unknown command \\\\copy"),
        ("install.sql", INSTALL + "\\ir nowhere.sql\n", "nowhere.sql, which cannot be read"),
        ("install.sql", "\\ir prepare.sql\n", "names no migration"),
        ("migrations/0002_more.sql", "select 1;", "0002_more.sql is not listed"),
        ("record.sql", "select 1 \\gset\n\\gset\n", "record.sql line 2: a psql command"),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused(
    folder: Path, name: str, text: str, message: str
) -> None:
    """What was skipped in silence would be missing from the schema."""
    (folder / name).write_text(text)

    with pytest.raises(ConfigurationError, match=message):
        read_manifest(folder)


def test_a_gap_between_migrations_is_refused(folder: Path) -> None:
    """They are numbered from 1 on."""
    (folder / "migrations/0003_far.sql").write_text("select 1;")
    text = INSTALL.replace("0001_core.sql\n", "0001_core.sql\n\\ir migrations/0003_far.sql\n")
    (folder / "install.sql").write_text(text)

    with pytest.raises(ConfigurationError, match=r"numbered \[1, 3\]"):
        read_manifest(folder)


def test_the_script_holds_no_psql_commands_and_only_what_is_pending(folder: Path) -> None:
    """EF and Flyway read plain SQL."""
    files = read_manifest(folder)

    fresh = migration_sql(files=files)
    pending = migration_sql(since=1, files=files, transaction=False)

    assert not [line for line in fresh.splitlines() if line.startswith("\\")]
    assert fresh.index("'prepare'") < fresh.index("'migrations/0001_core'")
    assert fresh.index("'migrations/0001_core'") < fresh.index("'record'")
    assert fresh.count("begin;\n") == 1
    assert "'migrations/0001_core'" not in pending
    assert "\ncommit;" not in pending


def test_a_script_from_a_newer_schema_is_refused(folder: Path) -> None:
    """There is no way back."""
    with pytest.raises(SchemaMismatch, match="version 2, this program brings only 1"):
        migration_sql(since=2, files=read_manifest(folder))
