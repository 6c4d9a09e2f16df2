"""
Install the SQL of an application beside the schema pgqueue, which must be there.

One transaction under the lock of all installers: what fails leaves everything as it was. What ran
is recorded in pgqueue.app_migrations; everything belongs to the owner of the schema pgqueue.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row

from pgqueue import log
from pgqueue.applications import Application, find_application
from pgqueue.calls import translated
from pgqueue.connection import endpoint
from pgqueue.dsn import Timeouts
from pgqueue.errors import ConfigurationError, PermissionDenied, SchemaMismatch
from pgqueue.migrate import STATEMENT_SECONDS, Migration, note_warning, patiently, run_file
from pgqueue.sqlfiles import query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgqueue.connection import BoundedConnection
    from pgqueue.sqlfiles import Manifest, SqlFile

__all__ = ["app_migration_sql", "migrate_app"]

_log = logging.getLogger("pgqueue.migrate")


def migrate_app(
    app: str | Application, dsn: str | None = None, *, dry_run: bool = False
) -> Migration:
    """
    Bring an application's schema to the version of its files. Harmless to repeat.

    The applications that it needs come first, each in a transaction of its own.

    Args:
        app: Its package, such as `workers.market`, or where that was found.
        dsn: As in `find_dsn`; its user is, or is a member of, the owner of the schema pgqueue.
        dry_run: Only say what would be done.

    Raises:
        ConfigurationError: No such package, or files that make no sense.
        SchemaMismatch: The schema pgqueue is missing or of another version, or the application's
            is newer than these files or of another application.
        PermissionDenied: This role may not install here.
        DatabaseUnavailable: No server there, or its tables were locked all the time.
        PgqueueError: A file failed; the message names it and the line.
    """
    found = app if isinstance(app, Application) else find_application(app)
    files = found.sql()
    _check_needs(found)
    needed = tuple(migrate_app(name, dsn, dry_run=dry_run) for name in found.needs())
    began = time.monotonic()
    timeouts = Timeouts(statement=STATEMENT_SECONDS, lock=3.0, idle_in_transaction=60.0)
    where = endpoint(dsn, application_name="pgqueue migrate", timeouts=timeouts)
    with where.connect() as conn:
        if dry_run:
            return replace(_plan(found, files, _recorded(conn, found)), needed=needed)
        warnings: dict[str, None] = {}
        conn.add_notice_handler(lambda diag: note_warning(diag, warnings))
        done = patiently(conn, lambda: _install(conn, found, files))
    took = time.monotonic() - began
    done = replace(done, seconds=took, warnings=tuple(warnings), needed=needed)
    log.event(
        _log,
        logging.INFO,
        "app migrated",
        app=done.app,
        found=done.found,
        version=done.version,
        migrations=len(done.migrations),
    )
    return done


def _check_needs(app: Application, above: tuple[str, ...] = ()) -> None:
    path = (*above, app.module)
    for name in app.needs():
        if name in path:
            raise ConfigurationError(f"applications need each other: {' -> '.join((*path, name))}")
        _check_needs(find_application(name), path)


def app_migration_sql(
    app: str, dsn: str | None = None, *, everything: bool = False, transaction: bool = True
) -> tuple[int, str]:
    """
    Render what `migrate_app` runs as one script; it refuses a database of another version.

    Applications that it needs have scripts of their own, to be run before.

    Args:
        app: Its package.
        dsn: Where to look what has run; not asked with *everything*.
        everything: For a database without this application.
        transaction: Begin and commit in the script.

    Returns:
        The version that the script upgrades from, and the script.

    Raises:
        PgqueueError: As migrate_app.
    """
    found = find_application(app)
    files = found.sql()
    recorded: Mapping[int, str] = {}
    if not everything:
        with endpoint(dsn, application_name="pgqueue migrate").connect() as conn:
            recorded = _recorded(conn, found)
    plan = _plan(found, files, recorded)
    parts = [
        f"-- {found.name}: version {plan.found} to {plan.version}, by: pgqueue migrate --sql --app",
        *([_part("script_begin")] if transaction else []),
        _part("script_settings"),
        _part("app_script_opened", name=found.name, version=plan.found),
        *(
            f"{_titled(file)}\n\n"
            + _part("app_script_migrated", name=found.name, version=file.version, file=file.name)
            for file in files.migrations
            if file.name in plan.migrations
        ),
        *(_titled(file) for file in files.after),
        _part("script_reset"),
        *([_part("script_end")] if transaction else []),
    ]
    return plan.found, "\n\n".join(parts) + "\n"


def _part(query_name: str, *, name: str = "", version: int | None = 0, file: str = "") -> str:
    # All three are plain names and numbers: checked by Application.sql().
    values = {"NAME": name, "0000": str(version), "FILE": file}
    # At once: a name may hold the mark of another.
    return re.sub(r"NAME|0000|FILE", lambda mark: values[mark[0]], query(query_name).decode())


def _titled(file: SqlFile) -> str:
    return f"-- ---- {file.path}\n{file.text.strip()}"


def _plan(app: Application, files: Manifest, recorded: Mapping[int, str]) -> Migration:
    known = {file.version: file.name for file in files.migrations}
    for version, name in recorded.items():
        if version not in known:
            raise SchemaMismatch(
                f"app {app.name} has version {max(recorded)} here,"
                f" its files bring only {files.version}",
                hint="Install with the files of that version, or of a later one.",
            )
        if known[version] != name:
            raise SchemaMismatch(
                f"migration {version} of app {app.name} was {name} here, and is {known[version]}",
                hint="Files that ran keep their names; another application needs another name.",
            )
    return Migration(
        app=app.name,
        found=max(recorded, default=0),
        version=files.version,
        migrations=tuple(file.name for file in files.migrations if file.version not in recorded),
        files=len(files.after),
        dry_run=True,
    )


def _install(conn: BoundedConnection, app: Application, files: Manifest) -> Migration:
    conn.execute(query("migrate_lock"))
    plan = _plan(app, files, _recorded(conn, app))
    try:
        conn.execute(query("app_opened"), [app.name])
    except psycopg.errors.InsufficientPrivilege as exc:
        raise PermissionDenied(
            exc.diag.message_primary or str(exc),
            hint="Installing an application needs CREATE on the database and membership in the"
            " owner of the schema pgqueue.",
        ) from exc
    except psycopg.Error as exc:
        raise translated(exc) from exc
    for file in files.migrations:
        if file.name in plan.migrations:
            run_file(conn, file, folder="")
            conn.execute(query("app_migrated"), [app.name, file.version, file.name])
    for file in files.after:
        run_file(conn, file, folder="")
    return replace(plan, dry_run=False)


def _recorded(conn: BoundedConnection, app: Application) -> dict[int, str]:
    try:
        with conn.cursor(row_factory=tuple_row) as cursor:
            rows: list[Any] = cursor.execute(query("app_migrations"), [app.name]).fetchall()
    except psycopg.errors.UndefinedTable as exc:
        raise ConfigurationError(
            "the schema pgqueue here knows no applications", hint="Run `pgqueue migrate` first."
        ) from exc
    except psycopg.Error as exc:
        raise translated(exc) from exc
    return dict(rows)
