r"""
The SQL files that ship with the library: where they are, and what sql/install.sql says about them.

install.sql is written for psql and is the one manifest there is: its `\ir` lines name the files
and their order. What its psql commands decide (which migration still has to run) is decided here
from the table pgqueue.migrations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pgqueue.errors import ConfigurationError

__all__ = ["Manifest", "SqlFile", "find_sql_dir", "manifest", "query", "read_manifest", "read_sql"]

_PACKAGE = Path(__file__).resolve().parent
_INCLUDE = re.compile(r"\\ir\s+(\S+)\s*$")
_COMMAND = re.compile(r"\s*\\(\w+)")
# What install.sql may say besides \ir; anything else would be skipped in silence.
_KNOWN_COMMANDS = frozenset({"set", "if", "elif", "else", "endif", "echo", "quit", "pset"})
_MIGRATION = re.compile(r"migrations/(\d{4})_(\w+)\.sql$")
_QUERY_HEADER = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SqlFile:
    """
    One file of the product.

    Attributes:
        path: Relative to the folder sql, as in the manifest.
        text: Its statements; no psql commands.
        version: The number of a migration, else None.
    """

    path: str
    text: str
    version: int | None = None

    @property
    def name(self) -> str:
        """`0001_core` for a migration, `claim` for functions/claim.sql."""
        return Path(self.path).stem


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    The files in the order in which they run.

    Attributes:
        before: Checks, and the schema itself.
        migrations: Tables; each runs once.
        after: Functions, triggers, views and grants, replaced every time; the last one writes down
            what the schema looks like.
    """

    before: tuple[SqlFile, ...]
    migrations: tuple[SqlFile, ...]
    after: tuple[SqlFile, ...]

    @property
    def version(self) -> int:
        """The number of the last migration: the version of the schema that this library speaks."""
        return max(file.version or 0 for file in self.migrations)


@cache
def manifest() -> Manifest:
    """The manifest that ships with this library."""
    return read_manifest(find_sql_dir())


def find_sql_dir() -> Path:
    """
    The folder sql: inside the installed package, or beside it in a checkout.

    Raises:
        ConfigurationError: It is in neither place.
    """
    for folder in (_PACKAGE / "sql", _PACKAGE.parent / "sql"):
        if (folder / "install.sql").is_file():
            return folder
    raise ConfigurationError(
        "the SQL files of pgqueue are not installed", hint="Install the package pgqueue again."
    )


def read_manifest(folder: Path) -> Manifest:
    """
    Read install.sql in *folder* and the files that it names.

    Raises:
        ConfigurationError: A file is missing or a migration is not listed, or a psql command in
            one of them is not understood.
    """
    files = [_read(folder, path) for path in _includes(folder / "install.sql")]
    migrations = [file for file in files if file.version is not None]
    if not migrations:
        raise ConfigurationError(f"{folder / 'install.sql'} names no migration")
    versions = [file.version for file in migrations]
    if versions != list(range(1, len(versions) + 1)):
        raise ConfigurationError(
            f"migrations in install.sql are numbered {versions}, not from 1 on"
        )
    listed = {file.path for file in migrations}
    for found in sorted((folder / "migrations").glob("*.sql")):
        if f"migrations/{found.name}" not in listed:
            raise ConfigurationError(f"{found.name} is not listed in install.sql")
    first, last = files.index(migrations[0]), files.index(migrations[-1])
    if last - first + 1 != len(migrations):
        raise ConfigurationError("migrations in install.sql do not stand together")
    return Manifest(tuple(files[:first]), tuple(migrations), tuple(files[last + 1 :]))


def _includes(path: Path) -> list[str]:
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        include = _INCLUDE.match(line)
        command = _COMMAND.match(line)
        if include:
            found.append(include[1])
        elif command and command[1] not in _KNOWN_COMMANDS:
            raise ConfigurationError(f"{path.name} line {number}: unknown command \\{command[1]}")
    return found


def _read(folder: Path, path: str) -> SqlFile:
    numbered = _MIGRATION.match(path)
    try:
        return read_sql(folder / path, shown=path, version=int(numbered[1]) if numbered else None)
    except OSError as exc:
        raise ConfigurationError(f"install.sql names {path}, which cannot be read") from exc


def read_sql(path: Path, *, shown: str, version: int | None = None) -> SqlFile:
    """
    Read one file of statements.

    Args:
        path: Where it lies.
        shown: What messages call it.
        version: Its number, if it is a migration.

    Raises:
        ConfigurationError: It is no UTF-8, or holds a psql command.
        OSError: It cannot be read.
    """
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{shown} is no UTF-8: {exc}") from exc
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("\\"):
            raise ConfigurationError(
                f"{shown} line {number}: a psql command; only install.sql may hold them"
            )
    return SqlFile(shown, text, version)


def query(name: str) -> bytes:
    """
    One of the library's own queries: what it asks a server that may have no schema pgqueue.

    Args:
        name: As in queries.sql.
    """
    return _queries()[name]


@cache
def _queries() -> dict[str, bytes]:
    parts = _QUERY_HEADER.split((_PACKAGE / "queries.sql").read_text("utf-8"))
    return {
        name: text.strip().encode() for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
