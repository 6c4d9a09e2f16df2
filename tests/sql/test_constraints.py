"""Every limit of the contract is a named constraint or a SQLSTATE: bad input stores nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.sqljobs import insert, refused, run_one, value

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_BIG = "repeat(md5(random()::text), 600000)"  # 19 MB
# 600 numbers of 8 bytes each, which are 131 kB each as text.
_LONG = """(select jsonb_build_object('a', jsonb_agg('1e131071'::jsonb))
    from generate_series(1, 600))"""

# SQL expression of the value -> what refuses it.
_JOBS: list[tuple[str, str, str]] = [
    ("job_type", "''", "jobs_job_type_check"),
    ("job_type", "repeat('x', 101)", "jobs_job_type_check"),
    ("queue", "''", "jobs_queue_check"),
    ("queue", "repeat('x', 64)", "jobs_queue_check"),
    ("priority", "-1", "jobs_priority_check"),
    ("priority", "4", "jobs_priority_check"),
    ("payload", "'[]'", "jobs_payload_check"),
    ("payload", "'1'", "jobs_payload_check"),
    ("payload", "'null'", "jobs_payload_check"),
    ("payload", """'"text"'""", "jobs_payload_check"),
    ("payload", "'true'", "jobs_payload_check"),
    ("payload", f"jsonb_build_object('a', {_BIG})", "jobs_payload_size_check"),
    ("payload", _LONG, "jobs_payload_text_check"),
    ("run_at", "'infinity'", "jobs_run_at_check"),
    ("run_at", "'-infinity'", "jobs_run_at_check"),
    ("expires_at", "'infinity'", "jobs_expires_at_check"),
    ("expires_at", "'-infinity'", "jobs_expires_at_check"),
    ("deadline_at", "'infinity'", "jobs_deadline_at_check"),
    ("deadline_at", "'-infinity'", "jobs_deadline_at_check"),
    ("max_attempts", "0", "jobs_max_attempts_check"),
    ("max_attempts", "10001", "jobs_max_attempts_check"),
    ("timeout", "'0 s'", "jobs_timeout_check"),
    ("timeout", "'-1 s'", "jobs_timeout_check"),
    ("timeout", "'31 days'", "jobs_timeout_check"),
    ("idempotency_key", "''", "jobs_idempotency_key_check"),
    ("idempotency_key", "repeat('x', 256)", "jobs_idempotency_key_check"),
    ("unique_key", "''", "jobs_unique_key_check"),
    ("unique_key", "repeat('x', 256)", "jobs_unique_key_check"),
    ("tenant_id", "''", "jobs_tenant_id_check"),
    ("tenant_id", "repeat('x', 101)", "jobs_tenant_id_check"),
    ("headers", "'[]'", "jobs_headers_check"),
    ("headers", "'null'", "jobs_headers_check"),
    ("headers", "jsonb_build_object('a', repeat(md5(random()::text), 3000))", "jobs_headers_check"),
    ("job_type", "'pgqueue.callback'", "jobs_job_type_reserved_check"),
    ("feed", "''", "jobs_feed_check"),
    ("feed", "repeat('x', 101)", "jobs_feed_check"),
    ("depends_on", "'{}'", "jobs_depends_on_check"),
    ("depends_on", "array[null]::uuid[]", "jobs_depends_on_check"),
    ("depends_on", "array[array[gen_random_uuid()]]", "jobs_depends_on_check"),
    ("depends_on", "array_fill(gen_random_uuid(), array[10001])", "jobs_depends_on_check"),
    ("on_parent_failure", "'explode'", "jobs_on_parent_failure_check"),
    ("concurrency_key", "repeat('x', 256)", "jobs_concurrency_key_check"),
    ("ordering_key", "''", "jobs_ordering_key_check"),
    ("ordering_on_failure", "'stop'", "jobs_ordering_on_failure_check"),
    ("callback_url", "''", "jobs_callback_url_check"),
    ("callback_url", "'ftp://a.example/'", "jobs_callback_url_check"),
    ("callback_url", "'https://'", "jobs_callback_url_check"),
    ("callback_url", "'https://user:password@a.example/'", "jobs_callback_url_check"),
    ("callback_url", "E'https://a.example/\\r\\nHost: b'", "jobs_callback_url_check"),
    ("callback_url", "E'https://a.example/\\n'", "jobs_callback_url_check"),
    ("callback_url", "'https://a.example/a b'", "jobs_callback_url_check"),
    ("callback_url", "'https://ä.example/'", "jobs_callback_url_check"),
    ("callback_url", "'https://a.example/' || repeat('x', 2000)", "jobs_callback_url_check"),
]
_BOUNDS: list[tuple[str, str]] = [
    ("job_type", "repeat('x', 100)"),
    ("queue", "repeat('x', 63)"),
    ("priority", "0"),
    ("priority", "3"),
    ("payload", "'{}'"),
    ("max_attempts", "1"),
    ("max_attempts", "10000"),
    ("timeout", "'1 ms'"),
    ("timeout", "'30 days'"),
    ("idempotency_key", "repeat('é', 255)"),
    ("unique_key", "repeat('é', 255)"),
    ("tenant_id", "repeat('x', 100)"),
    ("headers", "null"),
    ("concurrency_key", "repeat('é', 255)"),
    ("ordering_key", "repeat('é', 255)"),
    ("notify", "null"),
    ("feed", "repeat('x', 100)"),
    ("callback_url", "'http://[::1]:8080/a?b=c'"),
    ("callback_url", "'https://a.example?x'"),
    ("callback_url", "'https://a.example/' || repeat('x', 1982)"),
    ("run_at", "'4713-01-01 BC'"),
    ("run_at", "'294276-12-31 23:59:59 UTC'"),
]


def _refusal(db: Db, statement: str) -> str | None:
    try:
        db.execute(statement)
    except psycopg.Error as error:
        return error.diag.constraint_name or error.sqlstate
    return None


def _insert(column_name: str, expression: str) -> str:
    if column_name == "job_type":
        return f"insert into pgqueue.jobs (job_type) values ({expression})"
    return f"insert into pgqueue.jobs (job_type, {column_name}) values ('t', {expression})"


@pytest.mark.parametrize("registered", [False, True], ids=["unknown type", "known type"])
def test_each_limit_of_jobs_is_refused_by_its_constraint(db: Db, *, registered: bool) -> None:
    """The constraint's name is what a .NET caller branches on, whichever way the row takes."""
    if registered:
        _register(db)
    found = [(c, e, _refusal(db, _insert(c, e))) for c, e, _ in _JOBS]

    assert found == _JOBS
    assert value(db, "select count(*) from pgqueue.jobs") == 0
    assert value(db, "select count(*) from pgqueue.ready") == 0


@pytest.mark.parametrize("registered", [False, True], ids=["unknown type", "known type"])
def test_each_limit_of_jobs_includes_its_bound(db: Db, *, registered: bool) -> None:
    """The last value that is allowed is accepted, whichever way the row takes."""
    if registered:
        _register(db)
    found = {(c, e): _refusal(db, _insert(c, e)) for c, e in _BOUNDS}

    assert found == dict.fromkeys(_BOUNDS)


def _register(db: Db) -> None:
    """The types that the limits are tried with; a row of a type without a row is never plain."""
    db.execute("insert into pgqueue.job_types (job_type) values ('t'), ('pgqueue.callback')")


def test_every_limit_of_jobs_is_in_this_table(db: Db) -> None:
    """A new limit without a case here fails."""
    source = value(db, "select pg_get_functiondef('pgqueue.job_limit'::regproc)")

    assert set(re.findall(r"'(jobs_\w+_check)'", source)) == {name for _, _, name in _JOBS}


def test_an_update_keeps_the_limits(db: Db) -> None:
    """What an INSERT refuses, the owner's UPDATE of a waiting job refuses too."""
    job_id = insert(db)
    updates = [
        (f"update pgqueue.jobs set {c} = {e} where id = '{job_id}'", name)
        for c, e, name in _JOBS
        if c
        not in {
            *("job_type", "idempotency_key", "unique_key", "tenant_id", "feed", "callback_url"),
            *("depends_on", "on_parent_failure"),
            *("concurrency_key", "ordering_key", "ordering_on_failure"),
        }
    ]

    assert {name: _refusal(db, update) for update, name in updates} == {n: n for _, n in updates}


@pytest.mark.parametrize("registered", [False, True], ids=["unknown type", "known type"])
def test_a_compressed_payload_is_measured_as_it_would_print(db: Db, *, registered: bool) -> None:
    """INSERT ... SELECT hands a compressed value on as it is stored: 70 MB in less than 2 kB."""
    if registered:
        _register(db)
    db.execute("create temp table source (payload jsonb)")
    db.execute(
        """insert into source
        select jsonb_build_object('a', jsonb_agg('1e131071'::jsonb)) from generate_series(1, 600)"""
    )
    db.execute("alter table source alter payload set storage main")
    db.execute("insert into source select payload from source")
    statement = "insert into pgqueue.jobs (job_type, payload) select 't', payload from source"

    assert _refusal(db, statement) == "jobs_payload_text_check"


def test_enqueue_refuses_what_insert_refuses(db: Db) -> None:
    """The function is no way around the contract."""
    wanted = {
        "p_priority => 4": "jobs_priority_check",
        "p_priority => 100000": "jobs_priority_check",
        "p_payload => '[]'": "jobs_payload_check",
        "p_queue => ''": "jobs_queue_check",
        "p_run_at => 'infinity'": "jobs_run_at_check",
        "p_max_attempts => 0": "jobs_max_attempts_check",
        "p_max_attempts => 3000000000": "jobs_max_attempts_check",
        "p_unique_key => ''": "jobs_unique_key_check",
        "p_headers => '3'": "jobs_headers_check",
        "p_on_duplicate => 'drop'": "PQ006",
        "p_on_duplicate => null": "PQ006",
    }
    found = {given: _refusal(db, f"select pgqueue.enqueue('t', {given})") for given in wanted}

    assert found == wanted
    assert _refusal(db, "select pgqueue.enqueue(null)") == "23502"
    assert value(db, "select count(*) from pgqueue.jobs") == 0


@pytest.mark.parametrize(
    ("payload", "sqlstate"),
    [
        (r'{"a": "\u0000"}', "22P05"),
        (r'{"a": "\ud800"}', "22P02"),
        ('{"a": NaN}', "22P02"),
        ('{"a": ' + "[" * 20_000 + "]" * 20_000 + "}", "54001"),
        ("", "22P02"),
    ],
    ids=["nul", "lone surrogate", "nan", "20,000 levels", "empty"],
)
def test_json_that_postgresql_cannot_hold_is_refused(db: Db, payload: str, sqlstate: str) -> None:
    """At the door, with PostgreSQL's own SQLSTATE."""
    with refused(sqlstate):
        db.execute(
            "insert into pgqueue.jobs (job_type, payload) values ('t', %s::jsonb)", (payload,)
        )

    assert value(db, "select count(*) from pgqueue.jobs") == 0


@pytest.mark.parametrize(
    "payload",
    [
        '{"a": ' + "9" * 5000 + "}",
        '{"a": ' + "[" * 1000 + "]" * 1000 + "}",
        r'{"a": "\u202e\u200b é 😀", "__proto__": "; drop table jobs; --"}',
        '{"a": 9007199254740993}',
    ],
    ids=["5,000 digits", "1,000 levels", "odd text", "2^53 + 1"],
)
def test_json_that_clients_choke_on_is_handed_out_as_text(db: Db, payload: str) -> None:
    """The text is what the server stores; decoding it is the worker's risk, per job."""
    job = run_one(db, payload=payload)

    assert job.payload == value(db, "select %s::jsonb::text", payload)


_OTHERS: dict[str, str] = {
    "select pgqueue.register_worker('')": "workers_name_check",
    "select pgqueue.register_worker(repeat('x', 201))": "workers_name_check",
    "select pgqueue.register_worker('w', '{}')": "workers_queues_check",
    "select pgqueue.register_worker('w', array_fill('q'::text, '{101}'))": "workers_queues_check",
    "select pgqueue.register_worker('w', p_lease => '100 ms')": "workers_lease_check",
    "select pgqueue.register_worker('w', p_lease => '2 hours')": "workers_lease_check",
    "select pgqueue.set_settings(p_max_attempts => 0)": "settings_max_attempts_check",
    "select pgqueue.set_settings(p_backoff_base => '0')": "settings_backoff_base_check",
    "select pgqueue.set_settings(p_backoff_factor => 0.5)": "settings_backoff_factor_check",
    "select pgqueue.set_settings(p_backoff_factor => 'NaN')": "settings_backoff_factor_check",
    "select pgqueue.set_settings(p_backoff_cap => '31 days')": "settings_backoff_cap_check",
    "select pgqueue.set_settings(p_retention => '-1 s')": "settings_retention_check",
    "select pgqueue.set_settings(p_timeout_grace => '-1 s')": "settings_timeout_grace_check",
    "insert into pgqueue.settings (only_row) values (false)": "settings_only_row_check",
    "insert into pgqueue.settings (only_row) values (true)": "settings_pkey",
    "select pgqueue.set_job_type('')": "job_types_job_type_check",
    "select pgqueue.set_job_type('t', p_queue => '')": "job_types_queue_check",
    "select pgqueue.set_job_type('t', p_max_attempts => 0)": "job_types_max_attempts_check",
    "select pgqueue.set_job_type('t', p_timeout => '0')": "job_types_timeout_check",
    "select pgqueue.set_job_type('t', p_backoff_base => '0')": "job_types_backoff_base_check",
    "select pgqueue.set_job_type('t', p_backoff_factor => 101)": "job_types_backoff_factor_check",
    "select pgqueue.set_job_type('t', p_backoff_cap => '0')": "job_types_backoff_cap_check",
    "select pgqueue.set_job_type('t', p_retention => '-1 day')": "job_types_retention_check",
    "select pgqueue.pause_queue('')": "queues_queue_check",
    "insert into pgqueue.tenants values ('r', '')": "tenants_tenant_id_check",
}


def test_each_limit_of_workers_types_and_settings_is_refused_by_name(db: Db) -> None:
    """What an operator types wrong is named."""
    found: dict[str, Any] = {statement: _refusal(db, statement) for statement in _OTHERS}

    assert found == _OTHERS


def test_a_payload_below_the_limit_is_stored(db: Db) -> None:
    """15 MB of text that does not compress go in and come out."""
    job_id = insert(db, payload="{}")
    db.execute(
        """update pgqueue.jobs set payload = jsonb_build_object('a', repeat('x', 15000000))
           where id = %s""",
        (job_id,),
    )

    assert value(db, "select length(payload ->> 'a') from pgqueue.jobs") == 15_000_000
