"""
The wire contract: what Npgsql, Dapper and EF Core send, by type OID, at both doors.

Everything runs with the grants of pgqueue_producer alone. README's table of refusals is this file.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import npgsql as n
from tests.support.sqljobs import column, value

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.npgsql import Answer, Param
    from tests.support.sqljobs import Db

_OWN = uuid.UUID("0199c3a2-7d52-4000-8a3b-1f2e3d4c5b6a")
_LATER = dt.datetime(2100, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
_JOBS, _INBOX = "jobs", "inbox"
_TAKEN = (None, None)
_Refusal = tuple[str | None, str | None]


@pytest.fixture
def producer(connect: Connect) -> Db:
    """A connection that may do what a producer may."""
    return connect(role="pgqueue_producer")


def _insert(db: Db, door: str, columns: dict[str, Param], **options: Any) -> Answer:
    given = {"job_type": n.text("t"), **columns}
    marks = ", ".join(f"${number}" for number in range(1, len(given) + 1))
    sql = f"insert into pgqueue.{door} ({', '.join(given)}) values ({marks}) returning id"
    return n.send(db, sql, *given.values(), **options)


# Column, parameter -> refusal at pgqueue.jobs, refusal at pgqueue.inbox.
_CASES: list[tuple[str, Param, _Refusal, _Refusal]] = [
    # string
    ("payload", n.text('{"n": 1}'), ("42804", None), _TAKEN),
    ("payload", n.text(None), ("42804", None), _TAKEN),
    ("payload", n.text("not json"), ("42804", None), ("22P02", None)),
    ("payload", n.text('{"a": "\\u0000"}'), ("42804", None), ("22P05", None)),
    ("payload", n.text("\ufeff{}"), ("42804", None), ("22P02", None)),
    ("payload", n.text("[]"), ("42804", None), ("23514", "jobs_payload_check")),
    ("headers", n.text('{"a": 1}'), ("42804", None), _TAKEN),
    ("headers", n.text(None), ("42804", None), _TAKEN),
    ("queue", n.text("mail"), _TAKEN, _TAKEN),
    ("queue", n.text(""), ("23514", "jobs_queue_check"), _TAKEN),
    ("job_type", n.text(""), ("23514", "jobs_job_type_check"), ("23514", "jobs_job_type_check")),
    (
        "job_type",
        n.text("x" * 101),
        ("23514", "jobs_job_type_check"),
        ("23514", "jobs_job_type_check"),
    ),
    (
        "job_type",
        n.text("pgqueue.x"),
        ("23514", "jobs_job_type_reserved_check"),
        ("23514", "jobs_job_type_reserved_check"),
    ),
    ("id", n.text(str(_OWN)), ("42804", None), ("42804", None)),
    ("max_attempts", n.text("3"), ("42804", None), ("42804", None)),
    ("timeout", n.text("5 minutes"), ("42804", None), ("42804", None)),
    ("run_at", n.text("2100-01-01"), ("42804", None), ("42804", None)),
    (
        "idempotency_key",
        n.text("x" * 256),
        ("23514", "jobs_idempotency_key_check"),
        ("23514", "jobs_idempotency_key_check"),
    ),
    ("idempotency_key", n.text("order-7"), _TAKEN, _TAKEN),
    ("unique_key", n.text("shop-7"), _TAKEN, _TAKEN),
    ("feed", n.text("shop"), _TAKEN, _TAKEN),
    ("callback_url", n.text("https://shop.example/hooks"), _TAKEN, _TAKEN),
    (
        "callback_url",
        n.text("javascript:x"),
        ("23514", "jobs_callback_url_check"),
        ("23514", "jobs_callback_url_check"),
    ),
    # NpgsqlDbType.Jsonb, .Json, .Unknown
    ("payload", n.jsonb('{"n": 1}'), _TAKEN, _TAKEN),
    ("payload", n.json('{"n": 1}'), _TAKEN, _TAKEN),
    ("payload", n.untyped('{"n": 1}'), _TAKEN, _TAKEN),
    ("payload", n.jsonb("[]"), ("23514", "jobs_payload_check"), ("23514", "jobs_payload_check")),
    ("payload", n.jsonb('{"a": NaN}'), ("22P02", None), ("22P02", None)),
    ("payload", n.jsonb('{"a": "\\u0000"}'), ("22P05", None), ("22P05", None)),
    ("payload", n.jsonb('{"a": "\\ud800"}'), ("22P02", None), ("22P02", None)),
    ("headers", n.jsonb('{"traceparent": "x"}'), _TAKEN, _TAKEN),
    # DBNull.Value without a type: at jobs NULL overrides the default
    ("payload", n.null(), ("23502", None), _TAKEN),
    ("priority", n.null(), ("23502", None), _TAKEN),
    ("id", n.null(), ("23502", None), _TAKEN),
    ("job_type", n.null(), ("23502", None), ("23502", None)),
    ("run_at", n.null(), _TAKEN, _TAKEN),
    ("timeout", n.null(), _TAKEN, _TAKEN),
    ("notify", n.null(), _TAKEN, _TAKEN),
    # short, int, long; Dapper sends enums as int
    ("priority", n.int2(2), _TAKEN, _TAKEN),
    ("priority", n.int4(2), _TAKEN, _TAKEN),
    ("priority", n.int8(2), _TAKEN, _TAKEN),
    ("priority", n.int4(4), ("23514", "jobs_priority_check"), ("23514", "jobs_priority_check")),
    ("priority", n.int4(70_000), ("22003", None), ("22003", None)),
    ("max_attempts", n.int4(3), _TAKEN, _TAKEN),
    ("max_attempts", n.int8(3), _TAKEN, _TAKEN),
    ("max_attempts", n.int8(2**40), ("22003", None), ("22003", None)),
    ("max_attempts", n.int4(0), ("23514", "jobs_max_attempts_check"), _TAKEN),
    ("timeout", n.int4(60), ("42804", None), ("42804", None)),
    ("idempotency_key", n.int8(4711), _TAKEN, _TAKEN),
    # Guid
    ("id", n.guid(_OWN), _TAKEN, _TAKEN),
    ("id", n.guid(uuid.UUID(int=0)), _TAKEN, _TAKEN),
    ("idempotency_key", n.guid(_OWN), _TAKEN, _TAKEN),
    # DateTime, DateTimeOffset
    ("run_at", n.utc(_LATER), _TAKEN, _TAKEN),
    ("run_at", n.local(_LATER), _TAKEN, _TAKEN),
    ("run_at", n.utc(None), ("23514", "jobs_run_at_check"), _TAKEN),
    ("run_at", n.local(None), ("23514", "jobs_run_at_check"), _TAKEN),
    ("run_at", n.forever(), ("23514", "jobs_run_at_check"), ("23514", "jobs_run_at_check")),
    ("expires_at", n.utc(None), ("23514", "jobs_expires_at_check"), _TAKEN),
    (
        "expires_at",
        n.forever(),
        ("23514", "jobs_expires_at_check"),
        ("23514", "jobs_expires_at_check"),
    ),
    # TimeSpan
    ("timeout", n.interval(300), _TAKEN, _TAKEN),
    ("timeout", n.interval(0), ("23514", "jobs_timeout_check"), _TAKEN),
    ("timeout", n.interval(-1), ("23514", "jobs_timeout_check"), ("23514", "jobs_timeout_check")),
    # bool
    ("notify", n.boolean(value=True), _TAKEN, _TAKEN),
    ("notify", n.boolean(value=False), _TAKEN, _TAKEN),
]


@pytest.mark.parametrize("prepare", [False, True], ids=["unnamed", "prepared"])
@pytest.mark.parametrize("door", [_JOBS, _INBOX])
def test_each_parameter_is_taken_or_refused_as_the_table_says(
    producer: Db, db: Db, door: str, *, prepare: bool
) -> None:
    """SqlState and ConstraintName; a refused row leaves nothing behind."""
    wrong = []
    for name, param, *wanted in _CASES:
        with producer.transaction(force_rollback=True):
            found = _insert(producer, door, {name: param}, prepare=prepare)
        if found.refusal != wanted[door == _INBOX] or (len(found.rows) == 1) != (
            found.sqlstate is None
        ):
            wrong.append((name, param, found, wanted))

    assert wrong == []
    assert value(db, "select count(*) from pgqueue.jobs") == 0


def test_a_cast_takes_a_string_at_the_first_door(producer: Db, db: Db) -> None:
    """Both spellings."""
    for cast in ("$1::jsonb", "cast($1 as jsonb)"):
        n.send(
            producer,
            f"insert into pgqueue.jobs (job_type, payload) values ('t', {cast})",
            n.text('{"n": 1}'),
        )

    assert column(db, "select payload from pgqueue.jobs") == [{"n": 1}] * 2


def test_times_and_spans_arrive_exactly(producer: Db, db: Db) -> None:
    """Microseconds; a TimeSpan is an interval, also in now() + @delay."""
    _insert(producer, _JOBS, {"run_at": n.utc(_LATER), "timeout": n.interval(90.5)})
    n.send(
        producer,
        "insert into pgqueue.inbox (job_type, run_at) values ('t', now() + $1)",
        n.interval(3600),
    )

    assert value(db, "select run_at from pgqueue.jobs where timeout is not null") == _LATER
    assert value(db, "select timeout from pgqueue.jobs where timeout is not null") == dt.timedelta(
        seconds=90.5
    )
    assert value(
        db, "select run_at - created_at from pgqueue.jobs where timeout is null"
    ) == dt.timedelta(hours=1)


def test_the_default_keyword_is_taken_at_both_doors(producer: Db, db: Db) -> None:
    """What a NULL is refused for at pgqueue.jobs, DEFAULT is not."""
    for door in (_JOBS, _INBOX):
        sql = f"insert into pgqueue.{door} (job_type, payload, priority) values ($1, default, $2)"
        n.send(producer, sql, n.text("t"), n.int4(1))

    assert column(db, "select payload from pgqueue.jobs") == [{}, {}]


# What a producer asks with -> SQLSTATE.
_QUESTIONS: list[tuple[str, Param, str | None]] = [
    ("select status from pgqueue.job_status where id = $1", n.guid(_OWN), None),
    ("select status from pgqueue.job_status where id = any($1)", n.guids([_OWN, _OWN]), None),
    ("select id from pgqueue.job_status where status = any($1)", n.strings(["failed"]), None),
    ("select status from pgqueue.job_status where id = $1", n.text(str(_OWN)), "42883"),
    ("select id from pgqueue.job_status where idempotency_key = $1", n.text("k"), None),
    ("select id from pgqueue.job_status where idempotency_key = $1", n.guid(_OWN), "42883"),
    ("select id from pgqueue.job_status where result @> $1", n.text("{}"), "42883"),
    ("select * from pgqueue.take_completions($1)", n.text("shop"), None),
    ("select * from pgqueue.take_completions('shop', $1)", n.int4(10), None),
    ("select * from pgqueue.take_completions('shop', $1)", n.int8(10), None),
    ("select * from pgqueue.take_completions('shop', 10, $1)", n.interval(30), None),
    ("select pgqueue.ack_completions('shop', $1)", n.longs([1, 2]), None),
    ("select pgqueue.cancel($1)", n.guid(_OWN), "PQ003"),
    ("select pgqueue.enqueue('t', $1)", n.jsonb("{}"), None),
    ("select pgqueue.enqueue('t', $1)", n.text("{}"), "42883"),
    ("select pgqueue.enqueue('t', p_priority => $1)", n.int4(2), None),
    ("select pgqueue.enqueue('t', p_priority => $1)", n.int8(2), None),
    ("select pgqueue.enqueue('t', p_delay => $1)", n.interval(60), None),
    (
        "select pgqueue.enqueue('t', p_unique_key => 'k', p_on_duplicate => $1)",
        n.text("x"),
        "PQ006",
    ),
    ("select pgqueue.why_waiting($1)", n.guid(_OWN), "PQ003"),
    ('insert into "Jobs" (job_type) values ($1)', n.text("t"), "42P01"),
    ('insert into pgqueue.jobs ("JobType") values ($1)', n.text("t"), "42703"),
    ("insert into pgqueue.jobs (job_type, status) values ('t', $1)", n.text("x"), "42703"),
    ("insert into pgqueue.jobs (job_type, created_by) values ('t', $1)", n.text("x"), "42501"),
    ("insert into pgqueue.jobs (job_type) values ($1) returning *", n.text("t"), "42501"),
    ("insert into pgqueue.jobs (job_type) values ($1) returning id, queue", n.text("t"), None),
    ("insert into pgqueue.inbox (job_type) values ($1) returning *", n.text("t"), None),
    ("update pgqueue.jobs set priority = 0 where id = $1", n.guid(_OWN), "42501"),
    ("delete from pgqueue.jobs where id = $1", n.guid(_OWN), "42501"),
    ("select payload from pgqueue.jobs where id = $1", n.guid(_OWN), "42501"),
    ("select secret from pgqueue.callback_secrets where host = $1", n.text("a"), "42501"),
]


def test_each_question_is_answered_or_refused(producer: Db) -> None:
    """Reading the outcome, the feed, functions, and what a producer may not."""
    found = []
    for sql, param, _ in _QUESTIONS:
        with producer.transaction(force_rollback=True):
            found.append((sql, param, n.send(producer, sql, param).sqlstate))

    assert found == _QUESTIONS


@pytest.mark.parametrize("door", [_JOBS, _INBOX])
def test_a_second_key_is_refused_at_one_door_and_answered_at_the_other(
    producer: Db, door: str
) -> None:
    """23505 with the name of the index; or one row, with the id of the first."""
    found = {}
    for name in ("idempotency_key", "unique_key"):
        first = _insert(producer, door, {name: n.text("k")})
        second = _insert(producer, door, {name: n.text("k")})
        found[name] = (second.refusal, second.rows == first.rows)

    wanted: dict[str, Any] = {
        _JOBS: {name: (("23505", f"jobs_{name}"), False) for name in found},
        _INBOX: dict.fromkeys(found, (_TAKEN, True)),
    }
    assert found == wanted[door]


def test_a_second_id_is_refused_at_one_door_and_answered_at_the_other(producer: Db) -> None:
    """jobs_pkey; the inbox takes it for the same request, repeated."""
    found = {
        door: [_insert(producer, door, {"id": n.guid(own)}).refusal for _ in range(2)]
        for door, own in ((_JOBS, _OWN), (_INBOX, uuid.uuid4()))
    }

    assert found == {_JOBS: [_TAKEN, ("23505", "jobs_pkey")], _INBOX: [_TAKEN, _TAKEN]}


_CONFLICTS = [
    ("jobs", "on conflict do nothing", None),
    (
        "jobs",
        "on conflict (tenant_id, idempotency_key) where idempotency_key is not null do nothing",
        None,
    ),
    ("jobs", "on conflict (tenant_id, idempotency_key) do nothing", "42P10"),
    ("jobs", "on conflict (idempotency_key) do nothing", "42P10"),
    ("jobs", "on conflict (id) do update set priority = 0", "42501"),
    ("inbox", "on conflict do nothing", None),
    ("inbox", "on conflict (id) do nothing", "42P10"),
]


def test_each_on_conflict_is_taken_or_refused(producer: Db) -> None:
    """A partial index wants its predicate repeated; a view has no index."""
    found = []
    for door, conflict, _ in _CONFLICTS:
        sql = f"insert into pgqueue.{door} (job_type, idempotency_key) values ($1, 'k') {conflict}"
        found.append((door, conflict, n.send(producer, sql, n.text("t")).sqlstate))

    assert found == _CONFLICTS


def test_an_error_aborts_the_transaction_up_to_a_savepoint(connect: Connect, db: Db) -> None:
    """25P02 afterwards; EF's own savepoint gets the application out of it."""
    own = connect(autocommit=False)
    own.execute("set role pgqueue_producer")
    _insert(own, _JOBS, {})
    own.execute('savepoint "__EFSavePoint"')
    refused = _insert(own, _JOBS, {"priority": n.int4(9)})
    after = _insert(own, _JOBS, {})
    own.execute('rollback to savepoint "__EFSavePoint"')
    again = _insert(own, _INBOX, {})
    own.commit()

    assert [one.sqlstate for one in (refused, after, again)] == ["23514", "25P02", None]
    assert value(db, "select count(*) from pgqueue.ready") == 2


def test_a_standby_or_a_read_only_session_refuses_both_doors(connect: Connect) -> None:
    """25006."""
    own = connect(role="pgqueue_producer")
    own.execute("set default_transaction_read_only = on")

    assert [_insert(own, door, {}).sqlstate for door in (_JOBS, _INBOX)] == ["25006"] * 2


def test_job_types_are_refused_with_a_constraints_name(producer: Db, db: Db) -> None:
    """Strict mode and disabled types, at both doors."""
    db.execute("select pgqueue.set_job_type('off', p_enabled => false)")
    db.execute("select pgqueue.set_settings(p_strict_job_types => true)")
    found = {
        (door, name): _insert(producer, door, {"job_type": n.text(name)}).refusal
        for door in (_JOBS, _INBOX)
        for name in ("never", "off")
    }

    assert found == {
        (door, name): ("23514", constraint)
        for door in (_JOBS, _INBOX)
        for name, constraint in (
            ("never", "jobs_job_type_known"),
            ("off", "jobs_job_type_enabled"),
        )
    }


def test_refusals_are_not_what_npgsql_takes_for_transient(producer: Db) -> None:
    """EnableRetryOnFailure would repeat 53xxx, 55xxx, 57xxx and 40xxx for ever."""
    found = {
        _insert(producer, door, {name: param}).sqlstate
        for door in (_JOBS, _INBOX)
        for name, param, *_ in _CASES
    } - {None}

    assert {one for one in found if one and one[:2] in {"53", "55", "57", "40", "08"}} == set()
    assert len(found) >= 5


def test_ef_core_inserts_and_reads_back_what_the_database_made(producer: Db, db: Db) -> None:
    """Its own Guid, every property of the entity, inserted and status by RETURNING; in a batch."""
    sql = (
        "INSERT INTO pgqueue.inbox (id, idempotency_key, job_type, max_attempts, payload, queue,"
        " run_at) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING inserted, status"
    )

    def save() -> Answer:
        return n.send(
            producer,
            sql,
            n.guid(_OWN),
            n.text("order-7"),
            n.text("send_invoice"),
            n.int4(0),
            n.text('{"OrderId": 7}'),
            n.text(None),
            n.utc(None),
            prepare=True,
        )

    assert save().rows == [(b"\x01", b"queued")]
    assert save().rows == [(b"\x00", b"queued")]
    assert value(db, "select payload from pgqueue.jobs") == {"OrderId": 7}
