"""
Applications: packages of handlers that bring SQL of their own, in the folder sql beside them.

    shop/__init__.py          imports the modules that declare handlers
    shop/sql/0001_orders.sql  tables; each numbered file runs once, in order
    shop/sql/functions/*.sql  replaced at every install, in the order of their names
    shop/sql/views/*.sql      the same, after the functions
    shop/sql/roles.sql        grants, last
    shop/sql/shown/*.sql      never installed: what a demo shows
    shop/sql/needs.txt        optional: applications to install before it, one package per line
    shop/demo.py              optional: what `pgqueue demo --app shop` shows; see pgqueue.demo

All of it lives in the schema `shop`, the last part of the package's name. A package is found by its
name and never imported here: SQL is installed where its handlers' dependencies need not be.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pgqueue.errors import ConfigurationError
from pgqueue.registry import check_module_name
from pgqueue.sqlfiles import Manifest, SqlFile, read_sql

__all__ = ["Application", "find_application"]

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_NUMBERED = re.compile(r"(\d{4})_\w+\.sql")
_REPLACED = ("functions", "views")
_SHOWN = "shown"
_LAST = "roles.sql"
_NEEDS = "needs.txt"


@dataclass(frozen=True, slots=True)
class Application:
    """
    A package of handlers.

    Attributes:
        module: The package, as `pgqueue worker --app` takes it.
        folder: Where it lies.
        root: The directory from which it can be imported.
    """

    module: str
    folder: Path
    root: Path

    @property
    def name(self) -> str:
        """The last part of the package's name: also its schema's."""
        return self.module.rpartition(".")[2]

    def sql(self) -> Manifest:
        """
        Its SQL files, in the order in which they run.

        Raises:
            ConfigurationError: There are none, numbers are missing, or a file has a name or stands
                in a folder that means nothing: it would never run, and nobody would know.
        """
        folder = self.folder / "sql"
        if _NAME.fullmatch(self.name) is None:
            raise ConfigurationError(
                f"{self.name!r} cannot be the name of an application",
                hint="It names a schema: lower-case letters, digits and underscores.",
            )
        migrations = [self._numbered(path) for path in sorted(folder.glob("*.sql"))]
        numbers = [file.version for file in migrations if file.version is not None]
        if not numbers:
            raise ConfigurationError(
                f"app {self.module} has no SQL: there is no {folder / '0001_NAME.sql'}",
                hint="The schema pgqueue itself is installed by `pgqueue migrate` without --app.",
            )
        if numbers != list(range(1, len(numbers) + 1)):
            raise ConfigurationError(f"files in {folder} are numbered {numbers}, not from 1 on")
        self._check_folders(folder)
        replaced = [path for part in _REPLACED for path in sorted((folder / part).glob("*.sql"))]
        last = [path for path in (folder / _LAST,) if path.is_file()]
        return Manifest(
            before=(),
            migrations=tuple(file for file in migrations if file.version is not None),
            after=tuple(self._read(path) for path in (*replaced, *last)),
        )

    def needs(self) -> tuple[str, ...]:
        """The applications on whose SQL this one's builds: packages."""
        path = self.folder / "sql" / _NEEDS
        return tuple(path.read_text("utf-8").split()) if path.is_file() else ()

    def _numbered(self, path: Path) -> SqlFile:
        found = _NUMBERED.fullmatch(path.name)
        if found is None and path.name != _LAST:
            raise ConfigurationError(
                f"{path} is neither NNNN_NAME.sql nor {_LAST}",
                hint="What is replaced at every install stands in sql/functions and sql/views.",
            )
        return self._read(path, int(found[1]) if found else None)

    def _check_folders(self, folder: Path) -> None:
        known = {folder, *(folder / part for part in (*_REPLACED, _SHOWN))}
        for path in sorted(folder.rglob("*.sql")):
            if path.parent not in known:
                raise ConfigurationError(
                    f"{path} is in no folder that is installed",
                    hint="sql/functions and sql/views are; sql/shown is what a demo shows.",
                )

    def _read(self, path: Path, version: int | None = None) -> SqlFile:
        shown = f"{self.name}/{path.relative_to(self.folder)}"
        return read_sql(path, shown=shown, version=version)


def find_application(app: str) -> Application:
    """
    Find a package, from the current directory first, as `pgqueue worker` does.

    Args:
        app: Its name, such as `workers.market`; a Registry after a colon is ignored.

    Raises:
        ConfigurationError: It is no package's name, or there is none.
    """
    module = app.partition(":")[0]
    check_module_name(module)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError as exc:
        raise _missing(app, exc.name or module) from None
    if spec is None:
        raise _missing(app, module)
    if not spec.submodule_search_locations:
        raise ConfigurationError(
            f"app {app} is a module; SQL is the matter of a package",
            hint=f"Make it a directory {module.replace('.', '/')} with __init__.py and sql/.",
        )
    folder = Path(next(iter(spec.submodule_search_locations))).resolve()
    return Application(module, folder, folder.parents[module.count(".")])


def _missing(app: str, module: str) -> ConfigurationError:
    return ConfigurationError(
        f"app {app}: there is no package {module}",
        hint=f"Run this from the directory that holds it, not from {Path.cwd()}.",
    )
