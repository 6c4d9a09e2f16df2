"""
An install whose clock stands still until a test moves it, and which can be broken on purpose.

The SQL files ask `clock_timestamp()` for the time. In such an install, and in no other, their text
asks `pgqueue_test.clock()` instead: a setting of the session; the real time where that is not set.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from pgqueue.migrate import migrate
from pgqueue.sqlfiles import Manifest, SqlFile, manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

_ASKS = "clock_timestamp()"
_ASKS_IN_AT_LEAST = 12  # files: fewer, and the product has found another way to tell the time
_CLOCK = """
    create schema pgqueue_test;
    grant usage on schema pgqueue_test to public;
    create function pgqueue_test.clock() returns timestamptz language sql volatile as $$
        select coalesce(nullif(current_setting('pgqueue_test.now', true), '')::timestamptz,
            pg_catalog.clock_timestamp())
    $$;
"""


def install_with_clock(dsn: str, edits: Iterable[tuple[str, str, str]] = ()) -> None:
    """
    Install the schema with a clock that `pgqueue_test.now` sets.

    Args:
        dsn: An empty database.
        edits: What to break: file below sql/, text, replacement; the text must be there once.
    """
    files = manifest()
    everything = (*files.before, *files.migrations, *files.after)
    asking = [file.path for file in everything if _ASKS in file.text]
    assert len(asking) >= _ASKS_IN_AT_LEAST, f"only {asking} ask for the time"
    texts = {file.path: file.text for file in everything}
    for path, old, new in edits:
        assert texts[path].count(old) == 1, f"what is to be broken in {path} has changed"
        texts[path] = texts[path].replace(old, new)

    def rewrite(given: tuple[SqlFile, ...]) -> tuple[SqlFile, ...]:
        return tuple(
            replace(file, text=texts[file.path].replace(_ASKS, "pgqueue_test.clock()"))
            for file in given
        )

    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(_CLOCK)
    migrate(
        dsn,
        files=Manifest(rewrite(files.before), rewrite(files.migrations), rewrite(files.after)),
    )
