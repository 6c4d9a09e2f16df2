"""What a CHECK refuses is said in words: what was given, what may be, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import column, sqlstate_of

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_SAYS = [
    (
        "select pgqueue.set_limit('colour', 'q', 1)",
        "limits_kind_check",
        "kind must be job_type, queue, tenant or key, not colour",
    ),
    (
        "select pgqueue.set_limit('queue', 'q', 0)",
        "limits_max_running_check",
        "max_running must be from 1 to 10,000, not 0",
    ),
    (
        "select pgqueue.set_limit('queue', '*', 1)",
        "limits_name_any_check",
        "name can be * for kind tenant or key only, not kind queue, name *",
    ),
    (
        "select pgqueue.set_limit('queue', 'q', p_rate_jobs => 5, p_rate_interval => '0 s')",
        "limits_rate_interval_check",
        "rate_interval must be from 1 millisecond to 30 days, not 00:00:00",
    ),
    (
        "select pgqueue.set_limit('queue', 'q')",
        "limits_max_running_or_rate_check",
        "max_running or rate_jobs must be given, not max_running null, rate_jobs null",
    ),
    (
        """select pgqueue.register_limits('[{"kind": "queue", "name": "q", "max_running": -1}]')""",
        "limits_max_running_check",
        "max_running must be from 1 to 10,000, not -1",
    ),
    (
        "select pgqueue.set_schedule('s', '@daily', 't', p_overlap => 'never')",
        "schedules_overlap_check",
        "overlap must be allow, skip or queue, not never",
    ),
    (
        "select pgqueue.set_schedule('s', '@daily', 't', '[1]')",
        "schedules_payload_check",
        "payload must be a JSON object, not [1]",
    ),
    (
        "select pgqueue.set_schedule('', '@daily', 't')",
        "schedules_name_check",
        "name must have 1 to 100 characters, not an empty one",
    ),
    (
        f"select pgqueue.set_schedule('{'n' * 101}', '@daily', 't')",
        "schedules_name_check",
        f"name must have 1 to 100 characters, not {'n' * 100}... (101 characters)",
    ),
    (
        "select pgqueue.set_schedule('s', '@daily', 't', p_priority => 99999)",
        "schedules_priority_check",
        "priority must be 0 (high), 1 (normal), 2 (low) or 3 (bulk), not 99999",
    ),
    (
        "select pgqueue.set_schedule('s', '@daily', 't', p_max_attempts => 3000000000)",
        "schedules_max_attempts_check",
        "max_attempts must be from 1 to 10,000, not 3000000000",
    ),
    (
        "select pgqueue.set_schedule('s', '@daily', 't', p_catch_up_max => -3000000000)",
        "schedules_catch_up_max_check",
        "catch_up_max must be from 1 to 1,000, not -3000000000",
    ),
]


@pytest.mark.parametrize(("call", "constraint", "message"), _SAYS)
def test_a_refusal_says_what_was_given_and_what_may_be(
    db: Db, call: str, constraint: str, message: str
) -> None:
    """With the SQLSTATE and the constraint's name that callers branch on, and an example."""
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        db.execute(call)
    diag = caught.value.diag

    assert (diag.message_primary, diag.constraint_name) == (message, constraint)
    assert (diag.schema_name, diag.sqlstate) == ("pgqueue", "23514")
    assert (diag.message_hint or "").startswith("For example: select pgqueue.set_")


# Calls that are right, whose arguments are taken away one at a time.
_GIVEN = {
    "pause_queue": "'mail', 'why'",
    "resume_queue": "'mail'",
    "purge_queue": "'mail'",
    "pause_job_type": "'t', 'why'",
    "resume_job_type": "'t'",
    "set_job_type": "'t', true, 'mail', 3, '1 s', '1 s', 2, '1 s', '1 d', 'x', true",
    "set_settings": "true, 3, '1 s', 2, '1 s', '1 d', '1 s', '1 s'",
    "set_limit": "'queue', 'mail', 1, 5, '1 s', 1, 'x'",
    "set_schedule": "'s', '@daily', 't', '{}', 'UTC', 'mail', 1, 1, '1 s', '{}',"
    " 'acme', 'skip', 'one', 1, '1 s', '1 s', true, 'x', true",
    "pause_schedule": "'s', 'why'",
    "resume_schedule": "'s'",
    "set_hook": "'t', 'shop.on_jobs', '{finish}'",
    "set_fairness": "'mail', true",
    "set_tenant_quota": "'acme', 1, 1, 1",
    "set_tenant_weight": "'acme', 2",
}
_CANNOT_DO_WITHOUT = {
    "pause_queue": {0},
    "resume_queue": {0},
    "purge_queue": {0},
    "pause_job_type": {0},
    "resume_job_type": {0},
    "set_job_type": {0},
    "set_limit": {0, 1, 3, 4},  # the two of a rate together
    "set_schedule": {0},
    "pause_schedule": {0},
    "resume_schedule": {0},
    "set_hook": {0, 1},
    "set_fairness": {0, 1},
    "set_tenant_quota": {0},
    "set_tenant_weight": {0, 1},
}


def _hook(db: Db) -> None:
    db.execute(
        """create schema shop authorization pgqueue_owner;
        set role pgqueue_owner;
        create function shop.on_jobs(text, uuid[]) returns uuid[] language sql
            set search_path = pg_catalog, pg_temp as 'select null::uuid[]'"""
    )


@pytest.mark.parametrize("name", _GIVEN)
def test_an_argument_that_is_null_is_left_out_or_refused_in_words(db: Db, name: str) -> None:
    """Never by the name of a table's column, never in silence."""
    _hook(db)
    db.execute("select pgqueue.set_schedule('s', '@daily', 't')")
    refused = {}
    for place in range(len(_GIVEN[name].split(", "))):
        given = _GIVEN[name].split(", ")
        given[place] = "null"
        try:
            with db.transaction(force_rollback=True):
                db.execute(f"select pgqueue.{name}({', '.join(given)})")
        except psycopg.Error as error:
            refused[place] = (error.sqlstate, error.diag.message_primary or "")

    assert set(refused) == _CANNOT_DO_WITHOUT.get(name, set())
    assert {state for state, _ in refused.values()} <= {"PQ006", "23514"}
    assert [text for _, text in refused.values() if "null" not in text.lower()] == []


def test_the_calls_whose_arguments_are_taken_away_are_all_that_set_pause_and_resume(db: Db) -> None:
    """A new one has to be tried, too; signals and workers pause and resume for themselves."""
    names = column(
        db,
        """select distinct proname::text from pg_proc
           where pronamespace = 'pgqueue'::regnamespace
               and proname ~ '^(set|pause|resume|purge)_' and proname <> 'pause_until'""",
    )

    assert set(names) == set(_GIVEN)


@pytest.mark.parametrize(
    ("given", "constraint"),
    [
        ("p_priority => 99999", "jobs_priority_check"),
        ("p_max_attempts => 3000000000", "jobs_max_attempts_check"),
    ],
)
def test_a_number_too_large_for_its_column_is_refused_by_name(
    db: Db, given: str, constraint: str
) -> None:
    """As one that is merely too large, not as "smallint out of range"."""
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        db.execute(f"select pgqueue.enqueue('t', {given})")

    assert caught.value.diag.constraint_name == constraint


def test_the_events_of_a_hook_are_refused_in_words(db: Db) -> None:
    """A misspelt event would never be heard of."""
    _hook(db)
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        db.execute("select pgqueue.set_hook('t', 'shop.on_jobs', '{insert,finnish}')")

    assert caught.value.diag.constraint_name == "hooks_events_check"
    assert caught.value.diag.message_primary == (
        'events must be some of insert, finish, retry and maintain, not ["insert", "finnish"]'
    )


def test_a_check_of_an_application_is_refused_without_words_of_ours(db: Db) -> None:
    """It has no comment: PostgreSQL's own message stays."""
    db.execute("alter table pgqueue.limits add constraint theirs check (name <> 'theirs')")
    try:
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            db.execute("select pgqueue.set_limit('queue', 'theirs', 1)")
    finally:
        db.execute("alter table pgqueue.limits drop constraint theirs")

    assert caught.value.diag.constraint_name == "theirs"
    assert caught.value.diag.message_primary == (
        'new row for relation "limits" violates check constraint "theirs"'
    )


def test_every_check_of_a_table_that_operators_set_is_in_words(db: Db) -> None:
    """A new one without a comment would be refused without any."""
    silent = column(
        db,
        """select conname from pg_constraint
           where conrelid = any ('{pgqueue.limits,pgqueue.schedules,pgqueue.hooks}'::regclass[])
               and contype = 'c' and obj_description(oid, 'pg_constraint') is null""",
    )

    assert silent == []


@pytest.mark.parametrize(
    "call",
    [
        "select pgqueue.set_schedule('never', '0 0 30 2 *', 't')",
        "select pgqueue.set_schedule('often', '0 0 31 4,6,9,11 *')",
        """select pgqueue.register_schedules(
            '[{"name": "never", "cron": "0 0 30 2 *", "job_type": "t"}]')""",
    ],
)
def test_a_schedule_that_never_ticks_is_refused(db: Db, call: str) -> None:
    """The 30th of February would be waited for in silence; what there was stays as it is."""
    db.execute("select pgqueue.set_schedule('often', '@hourly', 't')")

    assert sqlstate_of(db, call) == "PQ006"
    assert column(db, "select cron from pgqueue.schedules") == ["@hourly"]


def test_a_leap_day_ticks(db: Db) -> None:
    """Up to eight years from now: it is not taken for never."""
    db.execute("select pgqueue.set_schedule('leap', '0 0 29 2 *', 't')")

    assert column(db, "select next_tick_at is not null from pgqueue.schedules") == [True]
