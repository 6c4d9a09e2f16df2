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
    "constraint_without_name": "alter table pgqueue.schedules add check (priority < 9)",
    "definer_function_of_superuser": _FUNCTION.format(
        "oops", f"{_PLPGSQL} security definer", "begin end"
    ),
    "definer_function_with_dynamic_sql": _FUNCTION.format(
        "oops", f"{_PLPGSQL} security definer", "begin execute format('select %L', 1); end"
    ),
    "foreign_key_without_index": "alter table pgqueue.attempts add constraint attempts_worker_fkey"
    " foreign key (worker_id) references pgqueue.workers (id)",
    "function_executable_by_public": _FUNCTION.format("oops", _PLPGSQL, "begin end"),
    "function_leakproof": _FUNCTION.format("oops", f"{_PLPGSQL} leakproof", "begin end"),
    "function_overloaded": "create function pgqueue.cancel(p_job_id text) returns text"
    " language sql begin atomic select p_job_id; end",
    "function_with_forced_plan_compiled": _FUNCTION.format(
        "oops", f"{_PLPGSQL} set enable_seqscan = off", "begin end"
    ),
    "function_with_loose_execute": _FUNCTION.format(
        "oops", _PLPGSQL, "begin execute 'select ' || 1; execute 'select 1'; end"
    ),
    "function_with_loose_format": _FUNCTION.format(
        "oops", _PLPGSQL, "begin execute format('select %s', 1); end"
    ),
    "function_without_search_path": _FUNCTION.format("oops", "language plpgsql", "begin end"),
    "index_duplicated": "create index oops on pgqueue.ready (queue, priority)",
    "materialized_view": "create materialized view pgqueue.oops as select 1 as one",
    "object_of_another_owner": "create table pgqueue.oops (id integer primary key)",
    "object_of_extension": "alter extension plpgsql add function pgqueue.uuid_v7()",
    "object_of_superuser": "create table pgqueue.oops (id integer primary key)",
    "object_without_comment": "alter table pgqueue.jobs add column oops text",
    "policies_overlapping": "create policy jobs_oops on pgqueue.jobs for select"
    " using (job_type = 'oops')",
    "policy_always_true": "create policy oops on pgqueue.settings using (true)",
    "policy_by_setting": "create policy oops on pgqueue.settings"
    " using (current_setting('pgqueue.tenant') is null)",
    "policy_per_row": "create policy oops on pgqueue.settings"
    " using (pgqueue.current_tenant() is null)",
    "policy_without_row_security": "alter table pgqueue.jobs disable row level security",
    "sequence_granted": "grant select on sequence pgqueue.token_seq to pgqueue_viewer",
    "table_granted_to_public": "grant select (id) on pgqueue.jobs to public",
    "table_outside_row_security": "create table pgqueue.oops (job_id uuid primary key)",
    "table_without_primary_key": "create table pgqueue.oops (id integer)",
    "view_column_without_precision": "create view pgqueue.oops as select 1.5 as value",
    "view_with_rights_of_owner": "create view pgqueue.oops as select 1 as value",
}
# What says something only while tenants are on.
_OF_TENANTS = {
    name for name in _MISTAKES if "polic" in name or name == "table_outside_row_security"
}


def _problems(db: Db, lint: str) -> list[str]:
    query = (SQL_DIR / "lint" / f"{lint}.sql").read_text(encoding="utf-8")
    return [str(found[0]) for found in db.execute(query).fetchall()]


@pytest.mark.parametrize("lint", _LINTS)
def test_the_schema_passes(db: Db, lint: str) -> None:
    """No row: nothing to repair, with tenants and without."""
    without = _problems(db, lint)
    db.execute("select pgqueue.enable_tenants()")

    assert (without, _problems(db, lint)) == ([], [])


@pytest.mark.parametrize("lint", _LINTS)
def test_the_lint_can_fail(db: Db, lint: str) -> None:
    """It names the mistake that it is there to find."""
    db.execute("set check_function_bodies = off")
    if lint in _OF_TENANTS:
        db.execute("select pgqueue.enable_tenants()")
    db.execute(_MISTAKES[lint])

    assert len(_problems(db, lint)) == 1


def test_every_lint_is_proved() -> None:
    """A lint without a mistake that it finds could be an empty query."""
    assert sorted(_MISTAKES) == _LINTS
