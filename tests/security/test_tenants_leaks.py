"""What a tenant could learn of another without reading his rows: by answers, errors, signals."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import claim, column, insert, report, sqlstate_of, value, worker

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.security.conftest import Login
    from tests.support.sqljobs import Db

_RIGHTS = ("pgqueue_producer", "pgqueue_viewer")
_SECRET = "canary-of-a"
# All that we ever say on our channel: hashes and numbers.
_SIGNAL = re.compile(r"ring (\*|-?\d+)|seat -?\d+ \d+|cancel \d+")


@pytest.fixture
def a(db: Db, login: Login) -> Db:
    """A login of tenant a."""
    db.execute("select pgqueue.enable_tenants()")
    return login(*_RIGHTS, tenant="a")


@pytest.fixture
def b(db: Db, login: Login) -> Db:
    """A login of tenant b."""
    db.execute("select pgqueue.enable_tenants()")
    return login(*_RIGHTS, tenant="b")


def _secrets(a: Db) -> None:
    """A job of tenant a that says its secret in every column that takes a text."""
    insert(
        a,
        f"type {_SECRET}",
        queue=f"queue {_SECRET}",
        payload={"p": _SECRET},
        headers={"h": _SECRET},
        unique_key=f"unique {_SECRET}",
        idempotency_key=f"idempotency {_SECRET}",
    )


def _everything_readable(db: Db, by: Db) -> str:
    """Every row of every relation, in the columns that the login may select, as text."""
    told = []
    relations = db.execute(
        """select c.oid::regclass::text, string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v')
            and has_column_privilege(%s, c.oid, a.attnum, 'select')
        group by c.oid""",
        (by.info.user,),
    )
    for name, columns in relations.fetchall():
        if sqlstate_of(by, f"select from {name}") is None:
            told += column(by, f"select x::text from (select {columns} from {name}) x")
    assert len(told) > 0
    return "\n".join(told)


def test_no_relation_tells_another_tenants_words(db: Db, a: Db, b: Db) -> None:
    """Whole rows of all tables and views, from the catalogue: a new one is among them."""
    _secrets(a)
    job = claim(db, worker(db, [f"queue {_SECRET}"]), queues=[f"queue {_SECRET}"])
    db.execute("select pgqueue.progress(%s, %s, 1, %s)", (*job[0].owned, _SECRET))
    db.execute("select pgqueue.cancel(%s, %s)", (job[0].job_id, _SECRET))
    running = _everything_readable(db, b)
    report(db, job, [{"result": _SECRET, "created": [["Order", _SECRET]]}])
    finished = _everything_readable(db, b)
    # Queues and workers are the operator's, not a tenant's: a worker shows which queues it serves.
    told = re.sub(rf"queue {_SECRET}", "", running + finished)

    assert _SECRET not in told
    assert _SECRET in _everything_readable(db, a)


def test_returning_tells_of_the_row_that_was_inserted_only(a: Db, b: Db) -> None:
    """ON CONFLICT returns nothing; neither DO UPDATE nor excluded reaches a foreign row."""
    job_id = insert(a)
    nothing = b.execute(
        "insert into pgqueue.jobs (id, job_type) values (%s, 't') on conflict do nothing"
        " returning id, job_type, created_by",
        (job_id,),
    ).fetchall()
    update = sqlstate_of(
        b,
        "insert into pgqueue.jobs (id, job_type) values (%s, 't')"
        " on conflict (id) do update set job_type = excluded.job_type returning job_type",
        job_id,
    )

    assert (nothing, update) == ([], "42501")


def test_copy_out_tells_of_ones_own_rows_only(a: Db, b: Db) -> None:
    """COPY of a table and of a query, and a cursor."""
    _secrets(a)
    insert(b)
    told = []
    for source in ("pgqueue.jobs", "(select * from pgqueue.job_status)", "(table pgqueue.ready)"):
        with b.cursor().copy(f"copy {source} to stdout") as copy:
            told.append(b"".join(bytes(chunk) for chunk in copy))

    assert [text.count(b"\n") for text in told] == [1, 1, 1]
    assert _SECRET.encode() not in b"".join(told)


@pytest.mark.parametrize(
    "attempt",
    [
        "select last_value from pgqueue.token_seq",
        "select last_value from pgqueue.position_seq",
        "select nextval('pgqueue.token_seq')",
        "select currval('pgqueue.position_seq')",
        "select setval('pgqueue.position_seq', 1)",
    ],
)
def test_sequences_are_closed(a: Db, attempt: str) -> None:
    """Their values count what all tenants do; pg_sequences shows NULL."""
    insert(a)

    assert sqlstate_of(a, attempt) == "42501"
    assert set(column(a, "select last_value from pg_sequences where schemaname = 'pgqueue'")) == {
        None
    }


def test_statistics_of_the_planner_are_hidden(db: Db, a: Db, b: Db) -> None:
    """pg_stats would list the most common job types and keys of all tenants."""
    for _ in range(3):
        insert(a, f"type {_SECRET}", queue=f"queue {_SECRET}")
    db.execute("analyze pgqueue.jobs; analyze pgqueue.ready")
    of_owner = value(
        db, "select string_agg(s::text, ' ') from pg_stats s where schemaname = 'pgqueue'"
    )
    found = column(b, "select s::text from pg_stats s where tablename in ('jobs', 'ready')")

    assert _SECRET in of_owner
    assert [text for text in found if _SECRET in text] == []
    assert sqlstate_of(b, "select from pg_statistic") == "42501"


def test_explain_tells_no_words_of_another_tenant(a: Db, b: Db) -> None:
    """It tells how many rows the policy has removed, as the size of the table does: see README."""
    for _ in range(7):
        insert(a, f"type {_SECRET}")
    query = "explain (analyze, verbose, format json) select * from pgqueue.job_status"
    plan = json.dumps(value(b, query))

    assert _SECRET not in plan
    assert '"Actual Rows": 7' not in plan


def test_how_many_jobs_of_others_come_first_is_not_told(db: Db, a: Db, b: Db) -> None:
    """Once why_waiting() counted all tenants' jobs of the queue."""
    worker(db)
    for _ in range(3):
        insert(a)
    job_id = insert(b)

    assert value(b, "select pgqueue.why_waiting(%s)", job_id) == (
        "queued: other jobs of its queue come before it"
    )
    assert "3 jobs" in value(db, "select pgqueue.why_waiting(%s)", job_id)


def test_how_full_a_limit_is_that_others_fill_is_not_told(db: Db, a: Db, b: Db) -> None:
    """Once why_waiting() counted what all tenants run under it, and when the next may start."""
    db.execute("select pgqueue.set_limit('queue', 'default', 1, 1, '1 hour')")
    insert(a)
    job_id = insert(b)
    claim(db, worker(db))

    assert value(b, "select pgqueue.why_waiting(%s)", job_id) == (
        "blocked by the limit of queue default"
    )
    assert "1 of 1 running" in value(db, "select pgqueue.why_waiting(%s)", job_id)


def test_notifications_say_numbers_only(db: Db, a: Db, b: Db, connect: Connect) -> None:
    """All that a listener of any role hears during a job's life, on the one channel."""
    door = connect()
    by = worker(db, [f"queue {_SECRET}"], name=f"worker {_SECRET}")
    b.execute("listen pgqueue")
    b.execute(f'listen "{_SECRET}"')
    door.execute("select * from pgqueue.rest(%s)", ([f"queue {_SECRET}"],))
    _secrets(a)
    door.execute("select pgqueue.leave(%s, true)", ([f"queue {_SECRET}"],))
    job = claim(db, by, queues=[f"queue {_SECRET}"])[0]
    a.execute("select pgqueue.cancel(%s, %s)", (job.job_id, _SECRET))
    db.execute("select pgqueue.cancel_running(%s, %s)", job.owned)
    heard = list(b.notifies(timeout=2, stop_after=2))

    assert {one.channel for one in heard} == {"pgqueue"}
    assert len(heard) == 2
    assert [one.payload for one in heard if not _SIGNAL.fullmatch(one.payload)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "insert into pgqueue.jobs (job_type, unique_key) values ('t', null), ('', 'k')",
        "insert into pgqueue.jobs (job_type, priority) values ('t', 9)",
        "insert into pgqueue.jobs (job_type, tenant_id) values ('t', 'a')",
        "select pgqueue.enqueue('t', p_unique_key => 'k', p_priority => 9)",
        "select pgqueue.enqueue('t', p_tenant_id => 'a')",
        "select pgqueue.enqueue('t', p_id => {id})",
        "select pgqueue.cancel({id})",
        "select pgqueue.why_waiting({id})",
        "delete from pgqueue.jobs where id = {id}",
        "update pgqueue.jobs set priority = 0 where id = {id}",
    ],
)
def test_no_error_tells_another_tenants_words(a: Db, b: Db, statement: str) -> None:
    """Message, detail, hint, context: whatever the server sends."""
    _secrets(a)
    job_id = value(a, "select id from pgqueue.jobs")
    told = ""
    try:
        b.execute(statement.replace("{id}", f"'{job_id}'"))
    except psycopg.Error as error:
        diag = error.diag
        told = " ".join(
            str(part)
            for part in (diag.message_primary, diag.message_detail, diag.message_hint, diag.context)
        )

    assert _SECRET not in told


def test_a_batch_with_a_null_tenant_belongs_to_the_logins_tenant(db: Db, a: Db) -> None:
    """JSON null is no way out: neither into no tenant nor into another."""
    jobs = [{"job_type": "t", "tenant_id": None}, {"job_type": "t", "unique_key": "k"}]
    a.execute("select * from pgqueue.enqueue_many(%s)", (json.dumps(jobs),))

    assert column(db, "select tenant_id from pgqueue.jobs") == ["a", "a"]
