"""
Install and upgrade the schema without psql, from the same files and in the same order.

Everything happens in one transaction: an upgrade that fails leaves the schema as it was. One
migrator works at a time. A table lock that is not granted within 3 seconds is given up, and the
whole is tried again: whoever waits for a lock on pgqueue.jobs holds up every producer behind him.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.rows import tuple_row

from pgqueue import log
from pgqueue.calls import run, server_state, translated
from pgqueue.connection import endpoint
from pgqueue.dsn import Timeouts
from pgqueue.errors import (
    DatabaseUnavailable,
    NotPrimary,
    PermissionDenied,
    PgqueueError,
    SchemaMismatch,
)
from pgqueue.sqlfiles import Manifest, SqlFile, manifest, query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgqueue.connection import BoundedConnection

__all__ = [
    "Change",
    "Migration",
    "installed_version",
    "migrate",
    "migration_sql",
    "note_warning",
    "patiently",
    "run_file",
]

# An index on a large table takes its time; nothing takes this long.
STATEMENT_SECONDS = 3600.0
LOCK_ATTEMPTS = 10
_PAUSE_SECONDS = 2.0

T = TypeVar("T")

_log = logging.getLogger("pgqueue.migrate")


@dataclass(frozen=True, slots=True)
class Change:
    """An object of the schema that an install made different: added, changed or removed."""

    kind: str
    name: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """
    What an install of the schema pgqueue, or of an application's schema, did or would do.

    Attributes:
        app: The application, whose name is its schema's; None: the schema pgqueue itself.
        found: The version before; 0 = there was no schema.
        version: The version after.
        migrations: The names of the migrations that ran, such as `0001_core`.
        files: How many files of functions, views and grants were run; they always are.
        changes: What became different; empty before it is done, and for applications.
        warnings: What the server warned of, such as roles that could not be created.
        dry_run: Nothing was done.
        seconds: How long it took.
        needed: What was done before for the applications that it needs.
    """

    app: str | None = None
    found: int
    version: int
    migrations: tuple[str, ...]
    files: int
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    dry_run: bool = False
    seconds: float = 0.0
    needed: tuple[Migration, ...] = ()

    def lines(self) -> list[str]:
        """For people."""
        would = "would run" if self.dry_run else "ran"
        end = f" in {self.seconds:.1f} s" if not self.dry_run else ""
        found = f"version {self.found}" if self.found else None
        if self.app is None:
            told = f"schema pgqueue: found {found or 'no schema'}, this program brings version"
        else:
            told = f"app {self.app}: found {found or 'nothing'}, its files bring version"
        return [
            *(line for one in self.needed for line in one.lines()),
            f"{told} {self.version}",
            *(f"{would} migration {name}" for name in self.migrations),
            f"{would} {self.files} files of functions, views and grants{end}",
            *(f"{change.what} {change.kind} {change.name}" for change in self.changes),
            *(f"warning: {text}" for text in self.warnings),
        ]


def migrate(
    dsn: str | None = None, *, dry_run: bool = False, files: Manifest | None = None
) -> Migration:
    """
    Bring the schema to this library's version. Harmless to repeat.

    Args:
        dsn: As in `find_dsn`; its user becomes or is the schema's owner.
        dry_run: Only say what would be done.
        files: Instead of those that ship with the library.

    Raises:
        SchemaMismatch: The schema is newer than this library.
        PermissionDenied: This role may not install here.
        NotPrimary: The server is a standby or read-only.
        DatabaseUnavailable: No server there, or its tables were locked all the time.
        PgqueueError: A file failed; the message names it and the line.
    """
    source = files or manifest()
    began = time.monotonic()
    # Locks are waited for briefly, and again: see above.
    timeouts = Timeouts(statement=STATEMENT_SECONDS, lock=3.0, idle_in_transaction=60.0)
    where = endpoint(dsn, application_name="pgqueue migrate", timeouts=timeouts)
    with where.connect(checked=False) as conn:
        _check_primary(conn)
        if dry_run:
            return _plan(source, _recorded(conn))
        warnings: dict[str, None] = {}  # a set that keeps its order
        conn.add_notice_handler(lambda diag: note_warning(diag, warnings))
        done = patiently(conn, lambda: _install(conn, source))
    done = replace(done, seconds=time.monotonic() - began, warnings=tuple(warnings))
    log.event(
        _log,
        logging.INFO,
        "schema migrated",
        found=done.found,
        version=done.version,
        migrations=len(done.migrations),
        changes=len(done.changes),
    )
    return done


def installed_version(dsn: str | None = None) -> int:
    """
    The version of the schema; 0 = there is none.

    Raises:
        DatabaseUnavailable: No server there.
        PermissionDenied: This role may not look.
    """
    with endpoint(dsn, application_name="pgqueue migrate").connect(checked=False) as conn:
        return max(_recorded(conn), default=0)


def migration_sql(
    *, since: int = 0, transaction: bool = True, files: Manifest | None = None
) -> str:
    """
    Render what `migrate` runs as one script of plain SQL, for EF, Flyway or a DBA.

    The script refuses a database whose schema has another version than *since*.

    Args:
        since: The version that the schema has; 0 = there is none.
        transaction: Begin and commit in the script. False for tools that run it in a transaction
            of their own; it must run in one.
        files: Instead of those that ship with the library.

    Raises:
        SchemaMismatch: *since* is newer than this library.
    """
    source = files or manifest()
    plan = _plan(source, range(1, since + 1))
    guard = query("script_guard").decode().replace("0000", str(since))
    parts = [
        f"-- pgqueue: from version {since} to {plan.version}. Made by: pgqueue migrate --sql",
        *([query("script_begin").decode()] if transaction else []),
        query("script_settings").decode(),
        *(_titled(file) for file in source.before),
        guard,
        *(_titled(file) for file in source.migrations if (file.version or 0) > since),
        *(_titled(file) for file in source.after),
        query("script_reset").decode(),
        *([query("script_end").decode()] if transaction else []),
    ]
    return "\n\n".join(parts) + "\n"


def _titled(file: SqlFile) -> str:
    return f"-- ---- {file.path}\n{file.text.strip()}"


def _check_primary(conn: BoundedConnection) -> None:
    state = run(conn, server_state())
    if state.in_recovery or state.read_only:
        raise NotPrimary(
            "the server is a standby or read-only", hint="Point the DSN at the primary."
        )


def _plan(source: Manifest, recorded: Iterable[int]) -> Migration:
    known = set(recorded)
    found = max(known, default=0)
    if found > source.version:
        raise SchemaMismatch(
            f"the schema pgqueue has version {found}, this program brings only {source.version}",
            hint="Install a later version of the package pgqueue; there is no way back.",
        )
    pending = tuple(file.name for file in source.migrations if file.version not in known)
    return Migration(
        found=found,
        version=source.version,
        migrations=pending,
        files=len(source.after),
        dry_run=True,
    )


def patiently(conn: BoundedConnection, install: Callable[[], T]) -> T:
    """
    Run *install* in a transaction; again, if a lock is not granted.

    Raises:
        DatabaseUnavailable: It was not granted in any attempt.
    """
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            with conn.transaction():
                return install()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as exc:
            if attempt == LOCK_ATTEMPTS:
                raise DatabaseUnavailable(
                    f"a lock was not granted in {LOCK_ATTEMPTS} attempts of 3 s",
                    hint="Another migration or a long transaction holds it: see pg_stat_activity.",
                ) from exc
            log.event(_log, logging.WARNING, "schema is locked", attempt=attempt)
        time.sleep(random.uniform(0.5, 1.0) * _PAUSE_SECONDS)  # noqa: S311  # jitter
    raise AssertionError


def _install(conn: BoundedConnection, source: Manifest) -> Migration:
    conn.execute(query("migrate_lock"))
    for file in source.before:
        run_file(conn, file)
    plan = _plan(source, _recorded(conn))
    before = _objects(conn)
    for file in source.migrations:
        if file.name in plan.migrations:
            run_file(conn, file)
    missing = {file.version for file in source.migrations} - set(_recorded(conn))
    if missing:
        raise PgqueueError(f"migration {min(missing, key=str)} does not record itself")
    for file in source.after:
        run_file(conn, file)
    return replace(plan, changes=_changes(before, _objects(conn)), dry_run=False)


def note_warning(diag: psycopg.errors.Diagnostic, warnings: dict[str, None]) -> None:
    """Keep the text of a warning, once."""
    if diag.severity_nonlocalized == "WARNING" and diag.message_primary:
        warnings[diag.message_primary] = None


def run_file(conn: BoundedConnection, file: SqlFile, *, folder: str = "sql/") -> None:
    """
    Run one file, in the installer's transaction.

    Args:
        conn: In a transaction.
        file: Of the product, or of an application.
        folder: Put before its name in messages.

    Raises:
        PgqueueError: A statement failed; says where.
        psycopg.Error: A lock was not granted.
    """
    try:
        # No parameters: psycopg then sends all statements of the file at once.
        conn.execute(file.text.encode())
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        raise
    except psycopg.Error as exc:
        raise _explained(exc, f"{folder}{file.path}", file.text) from exc


def _explained(exc: psycopg.Error, where: str, text: str) -> PgqueueError:
    message = exc.diag.message_primary or str(exc)
    if isinstance(exc, psycopg.errors.InsufficientPrivilege):
        return PermissionDenied(
            message,
            hint=exc.diag.message_hint
            or "Installing needs CREATE on the database, upgrading membership in the schema's"
            " owner; nothing else.",
        )
    ours = translated(exc)
    if isinstance(ours, DatabaseUnavailable | NotPrimary):
        return ours
    if exc.diag.statement_position:
        line = text.count("\n", 0, int(exc.diag.statement_position) - 1) + 1
        where = f"{where} line {line}"
    return PgqueueError(f"{where}: {message}", hint=exc.diag.message_hint)


def _recorded(conn: BoundedConnection) -> list[int]:
    if not _rows(conn, "has_migrations")[0][0]:
        return []
    return [version for (version,) in _rows(conn, "migrations")]


def _objects(conn: BoundedConnection) -> dict[tuple[str, str], str]:
    if not _rows(conn, "has_objects")[0][0]:
        return {}
    return {(kind, name): mark for kind, name, mark in _rows(conn, "objects")}


def _rows(conn: BoundedConnection, name: str) -> list[Any]:
    try:
        with conn.cursor(row_factory=tuple_row) as cursor:
            return cursor.execute(query(name)).fetchall()
    except psycopg.Error as exc:
        raise translated(exc) from exc


def _changes(
    before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]
) -> tuple[Change, ...]:
    changes = []
    for key in sorted(before.keys() | after.keys()):
        if key not in before:
            changes.append(Change(*key, "added"))
        elif key not in after:
            changes.append(Change(*key, "removed"))
        elif before[key] != after[key]:
            changes.append(Change(*key, "changed"))
    return tuple(changes)
