"""
A superuser works with the attacker's schema first in his search_path, and nothing of it runs.

The schema holds a function for each of pg_catalog's that our SQL calls, of the same arguments; an
operator for each of theirs over our types; tables, types and casts named like ours.
Proof that the traps work is a test of its own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import column, place, sqlstate_of, value

if TYPE_CHECKING:
    from uuid import UUID

    from tests.conftest import Connect
    from tests.security.conftest import Login
    from tests.support.sqljobs import Db

# Each would end the statement that calls it with SQLSTATE TR4P0.
_TRAPS = r"""
create schema evil;
create function evil.spring() returns void language plpgsql as
    $$ begin raise exception using errcode = 'TR4P0', message = 'trapped'; end $$;
do $do$
declare
    v record;
begin
    for v in
        select distinct p.proname, p.arguments
        from (
            select p.proname, string_agg(format_type(t.type, null), ', ' order by t.n) as arguments,
                coalesce(bool_or(t.type = '"any"'::regtype or t.type = 'internal'::regtype), false) as not_ours
            from pg_proc p
            left join unnest(p.proargtypes::oid[]) with ordinality as t (type, n) on true
            where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f'
            group by p.oid, p.proname
        ) p
        where not p.not_ours and exists (
            select from pg_proc o
            where o.pronamespace = 'pgqueue'::regnamespace and o.prosrc ~* format('\m%s\s*\(', p.proname))
    loop
        execute format('create function evil.%I(%s) returns void language plpgsql as $$ begin perform evil.spring(); end $$',
            v.proname, v.arguments);
    end loop;
    for v in
        select o.oprname, o.oprleft::regtype as l, o.oprright::regtype as r, o.oprresult::regtype as result,
            'operator_' || o.oid as name
        from pg_operator o
        where o.oprnamespace = 'pg_catalog'::regnamespace and o.oprkind = 'b'
            and o.oprleft in (select x::regtype from unnest(string_to_array(
                'text,uuid,smallint,integer,bigint,boolean,jsonb,timestamptz,interval,name,text[],uuid[],bigint[],real,double precision,anyarray,anycompatiblearray,record,oid', ',')) x)
    loop
        execute format('create function evil.%I(%s, %s) returns %s language plpgsql as $$ begin perform evil.spring(); end $$',
            v.name, v.l, v.r, v.result);
        execute format('create operator evil.%s (leftarg = %s, rightarg = %s, function = evil.%I)',
            v.oprname, v.l, v.r, v.name);
    end loop;
    for v in select c.relname from pg_class c where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v') loop
        execute format('create table evil.%I (oops integer)', v.relname);
    end loop;
end
$do$;
create table evil.pg_class (oops integer);
create table evil.pg_roles (oops integer);
create table evil.pg_proc (oops integer);
create table evil.pg_attribute (oops integer);
create domain evil.uuid as text check (value = 'trap');
create domain evil.regclass as text check (value = 'trap');
create domain evil.jsonb as text check (value = 'trap');
create function evil.cancel(uuid, text default null) returns text language plpgsql as
    $$ begin perform evil.spring(); end $$;
"""  # noqa: E501
_HOSTILE = "set search_path = evil, pg_temp, pg_catalog, public"


@pytest.fixture
def victim(db: Db, connect: Connect) -> Db:
    """The superuser who has installed pgqueue, on a connection with the attacker's path."""
    db.execute(_TRAPS)
    superuser = connect()
    assert value(superuser, "select rolsuper from pg_roles where rolname = current_user")
    superuser.execute(_HOSTILE)
    return superuser


def test_the_traps_spring(db: Db, victim: Db) -> None:
    """Functions, operators, tables and types of pg_catalog's names are the attacker's here."""
    for statement in (
        "select now()",
        "select clock_timestamp()",
        "select 'a'::text = 'b'::text",
        "select hashtext('x')",
        "select pg_notify('a', 'b')",
        "select length('x'::text)",
    ):
        assert sqlstate_of(victim, statement) == "TR4P0", statement
    assert sqlstate_of(victim, "select oid from pg_class") == "42703"
    assert sqlstate_of(victim, "select 'x'::uuid") == "23514"
    traps = column(db, "select oid from pg_proc where pronamespace = 'evil'::regnamespace")

    assert len(traps) > 300


def test_a_producers_statements_spring_no_trap(db: Db, victim: Db) -> None:
    """INSERT of one and many, with keys, times and headers; COPY; UPDATE, DELETE, ON CONFLICT."""
    victim.execute(
        "insert into pgqueue.jobs (job_type, queue, unique_key, idempotency_key, headers)"
        " values ('t', 'q', 'k', 'i', '{}'), ('t', 'r', null, null, null)"
    )
    victim.execute("insert into pgqueue.jobs (job_type, run_at) values ('t', '2100-01-01')")
    victim.execute(
        "insert into pgqueue.jobs (job_type, unique_key) values ('t', 'k') on conflict do nothing"
    )
    with victim.cursor().copy("copy pgqueue.jobs (job_type, payload) from stdin") as copy:
        copy.write_row(("t", "{}"))
    victim.execute("update pgqueue.jobs set payload = '{\"a\": 1}', priority = 0, run_at = null")
    refused = [
        sqlstate_of(victim, "delete from pgqueue.jobs"),
        sqlstate_of(victim, "truncate pgqueue.jobs"),
        sqlstate_of(victim, "update pgqueue.jobs set unique_key = 'other'"),
        sqlstate_of(victim, "insert into pgqueue.jobs (job_type) values ('')"),
    ]

    assert column(db, "select count(*) from pgqueue.ready") == [4]
    assert refused == ["PQ007", "PQ007", "PQ007", "23514"]


def _claimed(db: Db, worker: int) -> list[tuple[UUID, int]]:
    found = db.execute(
        "select job_id, token from pgqueue.claim(%s, array['default'], 10)", (worker,)
    )
    return [(row[0], row[1]) for row in found.fetchall()]


@pytest.mark.parametrize("tenants", [False, True])
def test_a_jobs_whole_life_springs_no_trap(db: Db, victim: Db, *, tenants: bool) -> None:
    """Enqueue in each way, claim, progress, each ending, retry, maintenance, every view."""
    if tenants:
        victim.execute("select pgqueue.enable_tenants()")
    ask = "select pgqueue.enqueue('t', p_unique_key => 'k', p_on_duplicate => %s)"
    first = value(victim, ask, "ignore")
    for way in ("replace", "debounce", "merge"):
        victim.execute(ask, (way,))
    many = json.dumps([{"job_type": "t"}, {"job_type": "t", "unique_key": "l"}] * 3)
    victim.execute("select * from pgqueue.enqueue_many(%s)", (many,))
    by = value(victim, "select pgqueue.register_worker('w', array['default'])")
    jobs = _claimed(victim, by)
    follow_up = value(victim, ask, "replace")
    outcomes = [
        json.dumps(one)
        for one in (
            {"result": 1, "created": [["order", "1"]], "follow_ups": [{"job_type": "t"}]},
            {"outcome": "failed", "error": {"code": "c", "message": "m"}, "retry": True},
        )
    ]
    victim.execute("select pgqueue.progress(%s, %s, 50, 'half')", jobs[0])
    victim.execute("select pgqueue.extend(%s, %s, '1 minute')", jobs[0])
    victim.execute("select pgqueue.cancel(%s, 'why')", (jobs[1][0],))
    for one in jobs[:2]:
        victim.execute(
            "select * from pgqueue.report(array[%s::pg_catalog.uuid], array[%s::bigint], %s)",
            (*one, [outcomes[0]]),
        )
    victim.execute('select pgqueue.fail(%s, %s, \'{"code": "c"}\', false)', jobs[2])
    victim.execute("select pgqueue.retry(%s)", (jobs[2][0],))
    victim.execute("select pgqueue.snooze(%s, %s, '1 minute')", jobs[3])
    for call in (
        "heartbeat(%(by)s)",
        "rest(array['default'])",
        "leave(array['default'], true)",
        "why_waiting(%(first)s)",
        "why_waiting(%(follow_up)s)",
        "reprioritise(%(follow_up)s, 0)",
        "pause_queue('q')",
        "set_job_type('t', p_max_attempts => 3)",
        "maintain()",
        "purge_queue('default')",
        "stop_worker(%(by)s)",
        "forget_workers()",
        "verify()",
        "drift()",
    ):
        victim.execute(
            f"select * from pgqueue.{call}", {"by": by, "first": first, "follow_up": follow_up}
        )
    for view in column(db, "select viewname from pg_views where schemaname = 'pgqueue'"):
        victim.execute(f"select * from pgqueue.{view}")

    assert place(db, jobs[0][0]) == "finished"


def test_a_cast_of_the_callers_own_runs_as_the_caller(db: Db, login: Login) -> None:
    """A type of his that turns into text: the cast happens before our definer function begins."""
    producer = login("pgqueue_producer")
    db.execute(f"create schema mine authorization {producer.info.user}")
    producer.execute(
        """create type mine.words as (word text);
           create function mine.said(mine.words) returns text language plpgsql as
               $$ begin return current_user; end $$;
           create cast (mine.words as text) with function mine.said as implicit"""
    )
    producer.execute("select pgqueue.enqueue(row('x')::mine.words)")

    seen = column(db, "select job_type from pgqueue.jobs")
    db.execute("drop schema mine cascade")

    assert seen == [producer.info.user]


def test_nobody_adds_to_our_schema(login: Login) -> None:
    """A function of ours cannot be shadowed where it lives, nor a cast between known types made."""
    for role in ("pgqueue_producer", "pgqueue_worker", "pgqueue_viewer", "pgqueue_operator"):
        attacker = login(role)
        for attempt in (
            "create function pgqueue.cancel(text) returns text language sql as 'select $1'",
            "create table pgqueue.oops (id integer)",
            "create operator pgqueue.= (leftarg = text, rightarg = text, function = texteq)",
            "create cast (text as jsonb) with inout as assignment",
            "alter function pgqueue.cancel owner to current_user",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                attacker.execute(attempt)
