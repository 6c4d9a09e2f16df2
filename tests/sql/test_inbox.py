"""The inbox: the second door, for clients that send strings, NULLs and the CLR's zero values."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.sqljobs import (
    claim_one,
    column,
    insert,
    refused,
    row,
    run_one,
    sqlstate_of,
    status,
    value,
)

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_NIL = "00000000-0000-0000-0000-000000000000"
# What an object mapper sends for properties that nobody has set: NULL, or the CLR's zero value.
_ZEROS: dict[str, Any] = {
    "id": _NIL,
    "queue": "",
    "payload": "",
    "run_at": "-infinity",
    "expires_at": "-infinity",
    "max_attempts": 0,
    "timeout": "0",
    "idempotency_key": "",
    "unique_key": "",
    "tenant_id": "",
    "headers": "",
    "notify": False,
    "feed": "",
    "callback_url": "",
    "on_duplicate": "",
}
_NULLS: dict[str, Any] = {**dict.fromkeys(_ZEROS), "priority": None}
_EVERYTHING: dict[str, Any] = {
    "job_type": "t",
    "queue": "q",
    "priority": 3,
    "payload": '{"n": 10.50}',
    "run_at": "2031-01-02 03:04:05+00",
    "expires_at": "2032-01-02 03:04:05+00",
    "max_attempts": 7,
    "timeout": "5 minutes",
    "idempotency_key": "i",
    "unique_key": "u",
    "tenant_id": "x",
    "headers": '{"traceparent": "00-a-b-01"}',
    "notify": True,
    "feed": "shop",
    "callback_url": "https://hooks.example.com/jobs",
}


def _post(db: Db, returning: str = "id, inserted, status", **columns: object) -> tuple[Any, ...]:
    """One INSERT into the inbox, as an object mapper sends it."""
    names = ", ".join(columns)
    marks = ", ".join(["%s"] * len(columns))
    return row(
        db,
        f"insert into pgqueue.inbox ({names}) values ({marks}) returning {returning}",
        *columns.values(),
    )


@pytest.mark.parametrize("unset", [{}, _NULLS, _ZEROS], ids=["absent", "null", "zero"])
def test_what_nobody_has_set_means_default(db: Db, unset: dict[str, Any]) -> None:
    """Absent, NULL or the CLR's zero value: the same job as a plain INSERT of its type makes."""
    insert(db, payload={})
    _post(db, job_type="t", **unset)
    first, second = db.execute(
        "select to_jsonb(j) - 'id' - 'created_at' from pgqueue.jobs j"
    ).fetchall()

    assert first == second
    assert value(db, "select count(*) from pgqueue.ready where flags = 0") == 2


def test_every_column_reaches_the_job(db: Db) -> None:
    """What the inbox is given is what pgqueue.jobs holds."""
    job_id, inserted, state = _post(db, **_EVERYTHING)
    names = ", ".join(_EVERYTHING)
    found = row(db, f"select {names} from pgqueue.jobs where id = %s", job_id)
    direct = dict(_EVERYTHING, idempotency_key="i2", unique_key="u2")
    insert(db, **direct)
    expected = row(db, f"select {names} from pgqueue.jobs where id <> %s", job_id)

    assert (inserted, state) == (True, "scheduled")
    assert dict(zip(_EVERYTHING, found, strict=True)) == {
        **dict(zip(_EVERYTHING, expected, strict=True)),
        "idempotency_key": "i",
        "unique_key": "u",
    }


def test_the_year_one_means_default_too(db: Db) -> None:
    """default(DateTime) of a client that has infinity conversions switched off."""
    _post(db, job_type="t", run_at="0001-01-01 00:00+00", expires_at="0001-01-01 00:00+00")

    assert row(db, "select run_at, expires_at from pgqueue.jobs") == (None, None)


def test_priority_zero_is_high_at_both_doors(db: Db) -> None:
    """It is a legal value: a door that takes it for unset would contradict the other."""
    _post(db, job_type="t", priority=0)

    assert value(db, "select priority from pgqueue.jobs") == 0


def test_a_duplicate_key_returns_the_existing_job(db: Db) -> None:
    """One row comes back, as an object mapper that counts rows wants it."""
    first = _post(db, job_type="t", idempotency_key="k")
    again = _post(db, job_type="t", idempotency_key="k", payload='{"other": 1}')
    job = claim_one(db)
    db.execute("select pgqueue.complete(%s, %s)", job.owned)
    after = _post(db, job_type="t", idempotency_key="k")

    assert first[1:] == (True, "queued")
    assert again == (first[0], False, "queued")
    assert after == (first[0], False, "succeeded")
    assert value(db, "select count(*) from pgqueue.jobs") == 1


def test_a_duplicate_id_returns_the_existing_job(db: Db) -> None:
    """EF draws ids itself and repeats an INSERT whose reply was lost."""
    own = uuid.uuid4()
    first = _post(db, job_type="t", id=own)
    again = _post(db, job_type="t", id=own)

    assert (first, again) == ((own, True, "queued"), (own, False, "queued"))


@pytest.mark.parametrize("version", ["1", "4", "6", "7", "8"])
def test_ids_of_any_uuid_version_are_taken(db: Db, version: str) -> None:
    """Guid.NewGuid() is version 4, Guid.CreateVersion7() version 7; both doors take all."""
    own = uuid.UUID(f"0199c3a2-7d52-{version}000-8a3b-1f2e3d4c5b6a")

    assert _post(db, job_type="t", id=own)[0] == own
    assert insert(db, id=uuid.UUID(int=own.int + 1)).int == own.int + 1


def test_a_duplicate_unique_key_does_what_on_duplicate_says(db: Db) -> None:
    """Without it the unfinished holder serves; with debounce it gets the new payload and time."""
    first = _post(db, job_type="t", unique_key="k", payload='{"n": 1}')
    second = _post(db, job_type="t", unique_key="k", payload='{"n": 2}')
    third = _post(
        db,
        job_type="t",
        unique_key="k",
        payload='{"n": 3}',
        run_at="2100-01-01 00:00+00",
        on_duplicate="debounce",
    )

    assert second == (first[0], False, "queued")
    assert third == (first[0], False, "scheduled")
    assert value(db, "select payload from pgqueue.jobs") == {"n": 3}


def test_a_follow_up_is_inserted_and_blocked(db: Db) -> None:
    """The holder runs: replace makes a job that waits for it."""
    holder = run_one(db, unique_key="k")
    found = _post(db, job_type="t", unique_key="k", on_duplicate="replace", feed="f")
    db.execute("select pgqueue.complete(%s, %s)", holder.owned)

    assert found[1:] == (True, "blocked")
    assert status(db, found[0]) == "queued"
    assert value(db, "select flags from pgqueue.ready") == 5


def test_an_unknown_on_duplicate_is_refused(db: Db) -> None:
    """With the words that are known."""
    with refused("PQ006"):
        _post(db, job_type="t", on_duplicate="perhaps")


# Column, SQL expression -> SQLSTATE, and what .NET finds in ConstraintName.
_REFUSED = [
    ("job_type", "''", "23514", "jobs_job_type_check"),
    ("job_type", "null", "23502", None),
    ("job_type", "'pgqueue.callback'", "23514", "jobs_job_type_reserved_check"),
    ("queue", "repeat('x', 64)", "23514", "jobs_queue_check"),
    ("priority", "4", "23514", "jobs_priority_check"),
    ("priority", "40000", "22003", None),
    ("payload", "'[]'", "23514", "jobs_payload_check"),
    ("payload", "'null'", "23514", "jobs_payload_check"),
    ("payload", "'{'", "22P02", None),
    ("payload", "'hello'", "22P02", None),
    ("payload", """'{"a": NaN}'""", "22P02", None),
    ("payload", r"""'{"a": "\u0000"}'""", "22P05", None),
    ("payload", r"""'{"a": "\ud800"}'""", "22P02", None),
    ("run_at", "'infinity'", "23514", "jobs_run_at_check"),
    ("expires_at", "'infinity'", "23514", "jobs_expires_at_check"),
    ("max_attempts", "-1", "23514", "jobs_max_attempts_check"),
    ("timeout", "'-1 s'", "23514", "jobs_timeout_check"),
    ("idempotency_key", "repeat('x', 256)", "23514", "jobs_idempotency_key_check"),
    ("unique_key", "repeat('x', 256)", "23514", "jobs_unique_key_check"),
    ("headers", "'[]'", "23514", "jobs_headers_check"),
    ("headers", "'x'", "22P02", None),
    ("feed", "repeat('x', 101)", "23514", "jobs_feed_check"),
    ("callback_url", "'gopher://a'", "23514", "jobs_callback_url_check"),
]


def test_refusals_carry_the_names_of_the_constraints_of_jobs(db: Db) -> None:
    """A caller branches on the same names at both doors."""
    found = []
    for name, expression, *_ in _REFUSED:
        given = {"job_type": "'t'", name: expression}
        statement = (
            f"insert into pgqueue.inbox ({', '.join(given)}) values ({', '.join(given.values())})"
        )
        try:
            db.execute(statement)
        except psycopg.Error as error:
            found.append((name, expression, error.sqlstate, error.diag.constraint_name))

    assert found == _REFUSED
    assert value(db, "select count(*) from pgqueue.jobs") == 0


def test_job_types_are_refused_as_at_the_other_door(db: Db) -> None:
    """Strict mode and disabled types: 23514 with a name."""
    db.execute("select pgqueue.set_job_type('off', p_enabled => false)")
    db.execute("select pgqueue.set_settings(p_strict_job_types => true)")

    with refused("23514", constraint="jobs_job_type_known"):
        _post(db, job_type="never")
    with refused("23514", constraint="jobs_job_type_enabled"):
        _post(db, job_type="off")


def test_rows_come_in_by_every_kind_of_insert(db: Db) -> None:
    """Multi-row, INSERT SELECT, ON CONFLICT DO NOTHING, default values missing."""
    many = column(
        db,
        "insert into pgqueue.inbox (job_type, payload, idempotency_key)"
        " values ('t', '{}', 'a'), ('t', '{}', 'a'), ('t', null, null) returning inserted",
    )
    selected = column(
        db,
        "insert into pgqueue.inbox (job_type) select 't' from generate_series(1, 3) returning id",
    )
    conflict = column(
        db,
        "insert into pgqueue.inbox (job_type, idempotency_key) values ('t', 'a')"
        " on conflict do nothing returning inserted",
    )

    assert many == [True, False, True]
    assert len(set(selected)) == 3
    assert conflict == [False]
    assert value(db, "select count(*) from pgqueue.ready") == 5


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("table", ["jobs", "inbox"])
def test_copy_fills_both_doors(db: Db, table: str, *, binary: bool) -> None:
    """Text and binary; a string for the payload in the inbox, jsonb in the table."""
    columns = "(id, job_type, payload, run_at, max_attempts)"
    types = ["uuid", "text", "text" if table == "inbox" else "jsonb", "timestamptz", "int4"]
    later = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    payload: Any = '{"n": 1}'
    if table == "jobs" and binary:
        payload = Jsonb({"n": 1})
    options = " with (format binary)" if binary else ""
    with (
        db.cursor() as cursor,
        cursor.copy(f"copy pgqueue.{table} {columns} from stdin{options}") as copy,
    ):
        if binary:
            copy.set_types(types)
        copy.write_row((uuid.uuid4(), "t", payload, later, 3))
        copy.write_row((uuid.uuid4(), "t", payload, None, None))

    assert column(db, "select payload from pgqueue.jobs") == [{"n": 1}] * 2
    assert column(db, "select status from pgqueue.job_status order by 1") == ["queued", "scheduled"]


@pytest.mark.parametrize("table", ["jobs", "inbox"])
def test_a_pipeline_of_prepared_inserts(connect: Connect, table: str) -> None:
    """NpgsqlBatch sends many statements before it reads the first answer."""
    own = connect(autocommit=False)
    with own.pipeline():
        cursors = [
            own.execute(
                f"insert into pgqueue.{table} (job_type, payload) values (%s, %s) returning id",
                ("t", '{"n": 1}'),
                prepare=True,
            )
            for _ in range(20)
        ]
        ids = {cursor.fetchall()[0][0] for cursor in cursors}
    own.commit()

    assert len(ids) == 20
    assert value(own, "select count(*) from pgqueue.ready") == 20


@pytest.mark.parametrize("table", ["jobs", "inbox"])
def test_a_savepoint_takes_its_jobs_back(connect: Connect, db: Db, table: str) -> None:
    """EF sets one around each SaveChanges inside a transaction."""
    own = connect(autocommit=False)
    own.execute(f"insert into pgqueue.{table} (job_type) values ('kept')")
    own.execute('savepoint "__EFSavePoint"')
    own.execute(f"insert into pgqueue.{table} (job_type) values ('lost')")
    own.execute('rollback to savepoint "__EFSavePoint"')
    own.commit()

    assert column(db, "select job_type from pgqueue.jobs") == ["kept"]
    assert column(db, "select job_type from pgqueue.ready") == ["kept"]


@pytest.mark.parametrize("table", ["jobs", "inbox"])
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_inserts_run_at_every_isolation_level(
    connect: Connect, db: Db, level: str, table: str
) -> None:
    """A fresh job at any level."""
    own = connect(autocommit=False)
    own.execute(f"set transaction isolation level {level}")
    own.execute("select count(*) from pgqueue.job_status")
    own.execute(f"insert into pgqueue.{table} (job_type) values ('t')")
    own.commit()

    assert column(db, "select status from pgqueue.job_status") == ["queued"]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_key_taken_since_the_snapshot_is_a_serialization_failure(
    connect: Connect, db: Db, level: str
) -> None:
    """40001, which Npgsql marks transient: the other job cannot be seen, so it cannot be named."""
    own = connect(autocommit=False)
    own.execute(f"set transaction isolation level {level}")
    own.execute("select count(*) from pgqueue.job_status")
    _post(db, job_type="t", idempotency_key="k")

    with refused("40001"):
        _post(own, job_type="t", idempotency_key="k")
    own.rollback()
    assert _post(own, job_type="t", idempotency_key="k")[1] is False


@pytest.mark.parametrize("table", ["jobs", "inbox"])
def test_an_insert_leaves_nothing_in_its_session(connect: Connect, table: str) -> None:
    """What PgBouncer in transaction mode asks for: the next transaction may be somebody else's."""
    own = connect(role="pgqueue_producer")
    before = column(own, "select name || setting from pg_settings where source = 'session'")
    own.execute(f"insert into pgqueue.{table} (job_type) values ('t')")
    left = column(
        own,
        "select locktype from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'"
        " union all select name from pg_prepared_statements"
        " union all select * from pg_listening_channels()"
        " union all select nspname from pg_namespace where oid = pg_my_temp_schema()",
    )

    assert left == []
    assert column(own, "select name || setting from pg_settings where source = 'session'") == before


@pytest.mark.parametrize("table", ["jobs", "inbox"])
def test_two_phase_commit_works_while_nobody_sleeps(connect: Connect, db: Db, table: str) -> None:
    """A TransactionScope over two connections: no NOTIFY in the way when the doorbell is quiet."""
    own = connect(autocommit=False)
    own.execute(f"insert into pgqueue.{table} (job_type) values ('t')")
    own.execute("prepare transaction 'scope'")
    assert column(db, "select job_type from pgqueue.jobs") == []
    db.execute("commit prepared 'scope'")

    assert column(db, "select status from pgqueue.job_status") == ["queued"]


def test_two_phase_commit_is_refused_when_it_had_to_ring(connect: Connect, db: Db) -> None:
    """A sleeping worker must be woken, and PostgreSQL cannot prepare a NOTIFY: 0A000."""
    sleeper = connect()
    sleeper.execute("select * from pgqueue.rest('{default}')")
    own = connect(autocommit=False)
    own.execute("insert into pgqueue.inbox (job_type) values ('t')")

    assert sqlstate_of(own, "prepare transaction 'scope'") == "0A000"
    assert column(db, "select job_type from pgqueue.jobs") == []


def test_the_same_key_uncommitted_elsewhere_waits(connect: Connect, db: Db) -> None:
    """Then it is the existing one; or the second goes in, if the first is rolled back."""
    first, second = connect(autocommit=False), connect(autocommit=False)
    _post(first, job_type="t", idempotency_key="k")
    second.execute("set lock_timeout = '50ms'")
    second.commit()

    with refused("55P03"):
        _post(second, job_type="t", idempotency_key="k")
    second.rollback()
    first.rollback()
    assert _post(second, job_type="t", idempotency_key="k")[1] is True


def test_nothing_can_be_read_through_the_inbox(db: Db) -> None:
    """It shows no row, whoever asks, and takes neither UPDATE nor DELETE."""
    insert(db, payload={"secret": 1})

    assert column(db, "select id from pgqueue.inbox") == []
    assert sqlstate_of(db, "update pgqueue.inbox set queue = 'x'") == "55000"
    assert sqlstate_of(db, "delete from pgqueue.inbox") == "55000"


def test_a_producer_needs_no_more_than_its_role(connect: Connect, db: Db) -> None:
    """INSERT, RETURNING *, COPY and ON CONFLICT with the grants of pgqueue_producer alone."""
    producer = connect(role="pgqueue_producer")
    _post(producer, returning="*", **_EVERYTHING)
    with producer.cursor().copy("copy pgqueue.inbox (job_type, payload) from stdin") as copy:
        copy.write_row(("t", "{}"))

    assert value(db, "select count(*) from pgqueue.jobs") == 2
    refusals = [
        "insert into pgqueue.inbox (job_type, inserted) values ('t', true)",
        "insert into pgqueue.inbox (job_type, status) values ('t', 'failed')",
        "select pgqueue.insert_one(null, 'ignore')",
    ]
    assert [sqlstate_of(producer, one) for one in refusals] == ["42501"] * 3
