"""Each lint in sql/lint passes for the schema as installed, and finds what it is there to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.psql import SQL_DIR

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_LINTS = sorted(file.stem for file in (SQL_DIR / "lint").glob("*.sql"))
_FUNCTION = "create function pgqueue.{}() returns void {} as $$ {} $$"
_PLPGSQL = "language plpgsql set search_path = pg_catalog, pg_temp"
# What each lint must find.
_MISTAKES = {
    "constraint_without_name": "alter table pgqueue.jobs add check (priority < 9)",
    "definer_function_of_superuser": _FUNCTION.format(
        "oops", f"{_PLPGSQL} security definer", "begin end"
    ),
    "function_executable_by_public": _FUNCTION.format("oops", _PLPGSQL, "begin end"),
    "function_overloaded": "create function pgqueue.cancel(p_job_id text) returns text"
    " language sql begin atomic select p_job_id; end",
    "function_with_loose_execute": _FUNCTION.format(
        "oops", _PLPGSQL, "begin execute 'select ' || 1; execute 'select 1'; end"
    ),
    "function_with_loose_format": _FUNCTION.format(
        "oops", _PLPGSQL, "begin execute format('select %s', 1); end"
    ),
    "function_without_search_path": _FUNCTION.format("oops", "language plpgsql", "begin end"),
    "index_duplicated": "create index oops on pgqueue.ready (queue, priority)",
    "object_of_another_owner": "create table pgqueue.oops (id integer primary key)",
    "object_without_comment": "alter table pgqueue.jobs add column oops text",
    "table_granted_to_public": "grant select (id) on pgqueue.jobs to public",
    "table_without_primary_key": "create table pgqueue.oops (id integer)",
    "view_column_without_precision": "create view pgqueue.oops as select 1.5 as value",
    "view_with_rights_of_owner": "create view pgqueue.oops as select 1 as value",
}


def _problems(db: Db, lint: str) -> list[str]:
    query = (SQL_DIR / "lint" / f"{lint}.sql").read_text(encoding="utf-8")
    return [str(found[0]) for found in db.execute(query).fetchall()]


@pytest.mark.parametrize("lint", _LINTS)
def test_the_schema_passes(db: Db, lint: str) -> None:
    """No row: nothing to repair."""
    assert _problems(db, lint) == []


@pytest.mark.parametrize("lint", _LINTS)
def test_the_lint_can_fail(db: Db, lint: str) -> None:
    """It names the mistake that it is there to find."""
    db.execute("set check_function_bodies = off")
    db.execute(_MISTAKES[lint])

    assert len(_problems(db, lint)) == 1


def test_every_lint_is_proved() -> None:
    """A lint without a mistake that it finds could be an empty query."""
    assert sorted(_MISTAKES) == _LINTS
