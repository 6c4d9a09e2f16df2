"""INSERT INTO pgqueue.jobs: where a job goes, in which order, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from psycopg.errors import CheckViolation

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    place,
    refused,
    row,
    sqlstate_of,
    status,
    value,
    worker,
)

if TYPE_CHECKING:
    from tests.support.sqljobs import Db


def test_run_at_decides_between_ready_and_scheduled(db: Db) -> None:
    """NULL and the past mean now; only the future is scheduled, at exactly that time."""
    found = {
        given: place(db, insert(db, run_at=given))
        for given in (None, "2001-01-01", "now", "2100-01-01")
    }

    assert found == {
        None: "ready",
        "2001-01-01": "ready",
        "now": "ready",
        "2100-01-01": "scheduled",
    }
    assert value(db, "select due_at = '2100-01-01' from pgqueue.scheduled") is True
    assert value(db, "select reason from pgqueue.scheduled") == "run_at"


def test_one_statement_may_feed_ready_and_scheduled(db: Db) -> None:
    """Each row of a multi-row INSERT is routed by its own run_at."""
    db.execute(
        """insert into pgqueue.jobs (job_type, run_at)
           values ('a', null), ('b', '2100-01-01'), ('c', '2001-01-01')"""
    )

    assert column(db, "select job_type from pgqueue.ready order by pos") == ["a", "c"]
    assert column(db, "select job_type from pgqueue.scheduled") == ["b"]


def test_the_queue_is_the_rows_then_the_types_then_default(db: Db) -> None:
    """For ready and for scheduled jobs alike."""
    db.execute("select pgqueue.set_job_type('mail', p_queue => 'post')")
    for run_at in (None, "2100-01-01"):
        insert(db, "mail", queue="own", run_at=run_at)
        insert(db, "mail", run_at=run_at)
        insert(db, "other", run_at=run_at)
    wanted = ["default", "own", "post"]

    assert column(db, "select queue from pgqueue.ready order by queue") == wanted
    assert column(db, "select queue from pgqueue.scheduled order by queue") == wanted


@pytest.mark.parametrize("run_at", [None, "2100-01-01"])
def test_an_unknown_type_is_accepted_unless_the_settings_are_strict(
    db: Db, run_at: str | None
) -> None:
    """Strict: 23514 with a constraint name to branch on, and nothing is stored."""
    insert(db, "unknown", run_at=run_at)
    db.execute("select pgqueue.set_settings(p_strict_job_types => true)")
    with refused("23514", constraint="jobs_job_type_known"):
        insert(db, "unknown", run_at=run_at)
    db.execute("""select pgqueue.register_job_types('[{"job_type": "unknown"}]')""")
    insert(db, "unknown", run_at=run_at)

    assert value(db, "select count(*) from pgqueue.jobs") == 2


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("run_at", [None, "2100-01-01"])
def test_a_disabled_type_is_refused(db: Db, run_at: str | None, *, strict: bool) -> None:
    """Whatever the setting: 23514 jobs_job_type_enabled; enabling lets it in again."""
    db.execute("select pgqueue.set_settings(p_strict_job_types => %s)", (strict,))
    db.execute("select pgqueue.set_job_type('off', p_enabled => false)")
    with refused("23514", constraint="jobs_job_type_enabled"):
        insert(db, "off", run_at=run_at)
    db.execute("select pgqueue.set_job_type('off', p_enabled => true)")
    insert(db, "off", run_at=run_at)

    assert value(db, "select count(*) from pgqueue.jobs") == 1


def test_one_refused_row_refuses_its_statement(db: Db) -> None:
    """An INSERT is all or nothing, as with any constraint."""
    db.execute("select pgqueue.set_job_type('off', p_enabled => false)")
    with refused("23514", constraint="jobs_job_type_enabled"):
        db.execute("insert into pgqueue.jobs (job_type) values ('on'), ('off'), ('on')")

    assert value(db, "select count(*) from pgqueue.jobs") == 0
    assert value(db, "select count(*) from pgqueue.ready") == 0


def test_a_multi_row_insert_keeps_its_order(db: Db) -> None:
    """1,000 rows of 50 types are handed out in the order in which they were written."""
    db.execute(
        "insert into pgqueue.job_types (job_type) select 't' || n from generate_series(1, 50) n"
    )
    db.execute("analyze pgqueue.job_types")
    db.execute(
        """insert into pgqueue.jobs (job_type, payload)
           select 't' || (n * 7919) % 60, jsonb_build_object('n', n)
           from generate_series(1, 1000) n"""
    )
    found = [int(job.payload[6:-1]) for job in claim(db, worker(db), 1000)]

    assert found == list(range(1, 1001))


_RARE = {
    "run_at": "'2000-01-01'",
    "expires_at": "'2100-01-01'",
    "max_attempts": "1",
    "timeout": "'1 s'",
    "idempotency_key": "repeat('k', 64)",
    "unique_key": "repeat('k', 64)",
    "tenant_id": "'t'",
    "headers": "'{}'",
    "notify": "true",
    "feed": "'f'",
    "callback_url": "'https://a.example/'",
    "callback_of": "gen_random_uuid()",
    "on_parent_failure": "'run'",
}


_REFUSE_THE_LONG_WAY = r"""do $$ begin
    execute regexp_replace(pg_get_functiondef('pgqueue.job_limit'::regproc),
        'BEGIN ATOMIC.*', $a$return 'the long way'$a$);
end $$"""


def _takes_the_short_way(db: Db, columns: str = "", values: str = "") -> bool:
    """Whether the INSERT gets through although the long way, which asks job_limit(), refuses."""
    try:
        with db.transaction(force_rollback=True):
            db.execute(_REFUSE_THE_LONG_WAY)
            db.execute(f"insert into pgqueue.jobs (job_type{columns}) values ('t'{values})")
    except CheckViolation as error:
        if error.diag.constraint_name == "the long way":
            return False
        raise
    return True


def test_a_plain_row_takes_the_short_way(db: Db) -> None:
    """A registered type and no rare column: one statement routes it, with or without a queue."""
    db.execute("insert into pgqueue.job_types (job_type, queue) values ('t', 'q')")
    rare = [c for c, v in _RARE.items() if _takes_the_short_way(db, f", {c}", f", {v}")]

    assert _takes_the_short_way(db)
    assert _takes_the_short_way(db, ", queue, priority, payload", """, 'r', 0, '{"a": 1}'""")
    assert _takes_the_short_way(db, ", idempotency_key, unique_key", ", repeat('i', 63), 'u'")
    assert rare == []
    assert not _takes_the_short_way(db, "", "), ('t'")


@pytest.mark.parametrize("change", ["detour = 4", "enabled = false", "job_type = 'other'"])
def test_no_job_takes_the_short_way_past_what_its_type_wants(db: Db, change: str) -> None:
    """A bit of detour, a disabled type, an unknown type."""
    db.execute("insert into pgqueue.job_types (job_type) values ('t')")
    db.execute(f"update pgqueue.job_types set {change} where job_type = 't'".encode())

    assert not _takes_the_short_way(db)


def test_both_ways_put_a_plain_row_in_the_same_place(db: Db) -> None:
    """The row of ready differs in its id, its position and its time only."""
    db.execute("insert into pgqueue.job_types (job_type) values ('t')")
    given: dict[str, Any]
    for given in ({}, {"queue": "q"}, {"priority": 0}, {"payload": {"a": "x" * 3000}}):
        insert(db, **given, unique_key=f"{list(given)} short")
        db.execute("update pgqueue.job_types set detour = 1")
        insert(db, **given, unique_key=f"{list(given)} long")
        db.execute("update pgqueue.job_types set detour = 0")
    rows = db.execute(
        """select queue, priority, job_type, flags, attempts, expires_at
           from pgqueue.ready order by pos"""
    ).fetchall()

    assert rows[::2] == rows[1::2]
    assert len(rows) == 8


def test_copy_enqueues(db: Db) -> None:
    """COPY fires the same trigger: rows are routed and keep their order."""
    with db.cursor().copy("copy pgqueue.jobs (job_type, payload, run_at) from stdin") as copy:
        for n in range(500):
            copy.write_row((f"t{n}", "{}", None if n % 2 else "2100-01-01"))

    assert column(db, "select job_type from pgqueue.ready order by pos") == [
        f"t{n}" for n in range(500) if n % 2
    ]
    assert value(db, "select count(*) from pgqueue.scheduled") == 250


def test_returning_yields_the_stored_defaults(db: Db) -> None:
    """What an ORM reads back after an INSERT."""
    found = row(
        db,
        """insert into pgqueue.jobs (job_type) values ('t')
           returning priority, payload, queue, run_at, created_at <= clock_timestamp(),
               created_by""",
    )

    assert found == (1, {}, None, None, True, value(db, "select session_user::text"))


def test_a_clients_own_id_is_kept(db: Db) -> None:
    """And a second row with it is refused like any primary key."""
    mine = UUID("018f0000-0000-7000-8000-000000000001")

    assert insert(db, id=mine) == mine
    with refused("23505", constraint="jobs_pkey"):
        insert(db, id=mine)


def test_on_conflict_do_nothing_works_for_both_keys(db: Db) -> None:
    """A second insert with a key stores no job and no state; other keys are unaffected."""
    for key in ("idempotency_key", "unique_key"):
        statement = f"""insert into pgqueue.jobs (job_type, {key}) values ('t', 'k')
                        on conflict do nothing returning id"""
        counts = [len(db.execute(statement).fetchall()) for _ in range(3)]

        assert counts == [1, 0, 0]
    assert value(db, "select count(*) from pgqueue.jobs") == 2
    assert value(db, "select count(*) from pgqueue.ready") == 2


def test_on_conflict_inserts_the_rows_that_do_not_conflict(db: Db) -> None:
    """A mixed statement places only what it stored."""
    insert(db, unique_key="b")
    db.execute(
        """insert into pgqueue.jobs (job_type, unique_key)
           values ('t', 'a'), ('t', 'b'), ('t', 'a'), ('t', 'c') on conflict do nothing"""
    )

    assert column(db, "select unique_key from pgqueue.jobs order by 1") == ["a", "b", "c"]
    assert value(db, "select count(*) from pgqueue.ready") == 3


def test_on_conflict_do_update_changes_the_waiting_holder(db: Db) -> None:
    """A hand-written upsert: the payload changes, the job moves to the end, one job remains."""
    first = insert(db, unique_key="k", payload={"n": 1})
    insert(db, "later")
    upsert = """insert into pgqueue.jobs (job_type, unique_key, payload)
        values ('t', 'k', '{"n": 2}')
        on conflict (tenant_id, unique_key) where unique_key is not null
        do update set payload = excluded.payload returning id"""

    assert value(db, upsert) == first
    assert [(job.job_type, job.payload) for job in claim(db, worker(db))] == [
        ("later", "{}"),
        ("t", '{"n": 2}'),
    ]


def test_keys_without_a_tenant_belong_to_one_tenant(db: Db) -> None:
    """NULL tenants collide with each other, and not with named ones."""
    for key in ("idempotency_key", "unique_key"):
        for tenant in (None, "a", "b"):
            insert(db, tenant_id=tenant, **{key: "k"})
        for tenant in (None, "a"):
            with refused("23505", constraint=f"jobs_{key}"):
                insert(db, tenant_id=tenant, **{key: "k"})

    assert value(db, "select count(*) from pgqueue.jobs") == 6


def test_an_idempotency_key_outlives_its_job_and_a_unique_key_does_not(db: Db) -> None:
    """The first holds for as long as the row is kept, the second until the job has finished."""
    job_id = insert(db, idempotency_key="i", unique_key="u")
    (job,) = claim(db, worker(db))
    db.execute("select pgqueue.complete(%s, %s)", job.owned)

    assert (
        sqlstate_of(db, "insert into pgqueue.jobs (job_type, unique_key) values ('t', 'u')") is None
    )
    with refused("23505", constraint="jobs_idempotency_key"):
        insert(db, idempotency_key="i")
    assert value(db, "select unique_key from pgqueue.finished where job_id = %s", job_id) == "u"


def test_rolling_back_leaves_nothing(db: Db) -> None:
    """Neither a transaction nor a savepoint that is rolled back enqueues."""
    with db.transaction():
        insert(db, "kept")
        with db.transaction(force_rollback=True):
            insert(db, "savepoint")
    with db.transaction(force_rollback=True):
        insert(db, "transaction")

    assert [job.job_type for job in claim(db, worker(db))] == ["kept"]
    assert value(db, "select count(*) from pgqueue.jobs") == 1


def test_ids_are_uuids_of_version_7_in_order_of_time(db: Db) -> None:
    """Version and variant bits are set, and ids of different milliseconds sort by time."""
    found = column(
        db,
        """select pgqueue.uuid_v7() from generate_series(1, 2000)
           where pg_sleep(case when random() < 0.005 then 0.002 end) is null or true""",
    )
    millis = [one.int >> 80 for one in found]

    assert {(one.version, one.variant) for one in found} == {(7, "specified in RFC 4122")}
    assert len(set(found)) == 2000
    assert sorted(millis) == millis
    drift = value(db, "select extract(epoch from clock_timestamp()) * 1000") - millis[-1]
    assert 0 <= drift < 10_000


def test_a_waiting_job_counts_its_expiry_wherever_it_waits(db: Db) -> None:
    """expires_at travels with the state, so that claims need not look at jobs."""
    insert(db, expires_at="2100-01-01")
    insert(db, run_at="2099-01-01", expires_at="2100-01-01")

    for table in ("ready", "scheduled"):
        assert value(db, f"select expires_at = '2100-01-01' from pgqueue.{table}") is True


def test_statuses_of_helpers_are_what_they_say(db: Db) -> None:
    """The table-driven tests rest on this."""
    assert status(db, insert(db)) == "queued"
    assert status(db, insert(db, run_at="2100-01-01")) == "scheduled"
