"""What a caller puts in front of our objects, or into a name, changes nothing that we do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import claim, column, insert, place, sqlstate_of, value, worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.conftest import Login
    from tests.support.sqljobs import Db

# What our functions use, in the one place that every login can write to.
_TRAPS = """
create temp table jobs (id uuid, tenant_id text);
create temp table ready (x integer);
create temp table settings (x integer);
create temp table job_types (x integer);
create temp table workers (x integer);
create temp table pg_class (oid oid, relname name);
create temp table pg_roles (rolname name, oid oid);
create function pg_temp.clock_timestamp() returns timestamptz language plpgsql
    as $$ begin raise exception 'trapped'; end $$;
create function pg_temp.now() returns timestamptz language plpgsql
    as $$ begin raise exception 'trapped'; end $$;
create function pg_temp.hashtext(text) returns integer language plpgsql
    as $$ begin raise exception 'trapped'; end $$;
create function pg_temp.coalesce_text(text, text) returns boolean language plpgsql
    as $$ begin raise exception 'trapped'; end $$;
create operator pg_temp.= (leftarg = text, rightarg = text, function = pg_temp.coalesce_text);
create function pg_temp.width_bucket(double precision, double precision[]) returns integer
    language plpgsql as $$ begin raise exception 'trapped'; end $$;
set search_path = pg_temp, pg_catalog, public;
"""


@pytest.fixture
def trapper(login: Login) -> Callable[..., Db]:
    """Logs somebody in who has set all traps."""

    def log_in(*roles: str) -> Db:
        db = login(*roles)
        db.execute(_TRAPS)
        return db

    return log_in


def test_a_producers_temp_objects_do_not_reach_the_triggers(
    db: Db, trapper: Callable[..., Db]
) -> None:
    """Nor enqueue(): the job lands where it belongs, with the schema's own functions."""
    producer = trapper("pgqueue_producer")
    inserted = insert(producer, unique_key="k")
    later = insert(producer, run_at="2100-01-01")
    served = value(
        producer, "select pgqueue.enqueue('t', p_unique_key => 'k', p_on_duplicate => 'replace')"
    )
    producer.execute("select pgqueue.cancel(%s)", (later,))
    held = value(producer, "select pgqueue.why_waiting(%s)", inserted)

    assert served == inserted
    assert (place(db, inserted), place(db, later)) == ("ready", "finished")
    assert held.endswith("no worker is alive")


def test_a_workers_temp_objects_do_not_reach_the_functions(
    db: Db, trapper: Callable[..., Db]
) -> None:
    """Register, claim, fail, complete, rest, maintain."""
    by = trapper("pgqueue_worker")
    first, second = insert(db), insert(db)
    number = worker(by)
    one, other = claim(by, number, 2)
    by.execute("select pgqueue.fail(%s, %s, null, false)", one.owned)
    by.execute("select pgqueue.complete(%s, %s)", other.owned)
    by.execute("select * from pgqueue.rest('{default}')")
    by.execute("select pgqueue.leave('{default}')")
    by.execute("select * from pgqueue.maintain()")

    assert (place(db, first), place(db, second)) == ("finished", "finished")


def test_an_operators_temp_objects_do_not_reach_the_functions(
    db: Db, trapper: Callable[..., Db]
) -> None:
    """The views are bound to their objects when they are made."""
    operator = trapper("pgqueue_operator")
    job_id = insert(db)
    operator.execute("select pgqueue.reprioritise(%s, 0)", (job_id,))
    operator.execute("select pgqueue.reschedule(%s, '2100-01-01')", (job_id,))
    operator.execute("select pgqueue.pause_queue('default')")
    operator.execute("select * from pgqueue.verify()")
    operator.execute("select * from pgqueue.health")
    seen = operator.execute("select queue, scheduled, paused from pgqueue.queue_stats").fetchall()

    assert seen == [("default", 1, True)]


def test_a_view_of_the_callers_own_cannot_widen_his_rights(login: Login) -> None:
    """security_invoker: pgqueue.job_status in somebody's view still reads as he who asks."""
    viewer = login("pgqueue_viewer")
    nobody = login()
    viewer.execute("create temp view mine as select * from pgqueue.job_status")

    assert sqlstate_of(nobody, "select from pgqueue.job_status") == "42501"
    assert sqlstate_of(nobody, "select pgqueue.schema_version()") == "42501"


@pytest.mark.parametrize(
    "text", ["'; drop table pgqueue.jobs; --", "$$ || 1", "%s%I%L", "\\", "x" * 63]
)
def test_names_are_values_and_never_code(db: Db, text: str) -> None:
    """In every function that takes one."""
    job_id = insert(db, text, queue=text, unique_key=text)
    db.execute("select pgqueue.pause_queue(%s, %s)", (text, text))
    db.execute("select pgqueue.pause_job_type(%s, %s)", (text, text))
    held = value(db, "select pgqueue.why_waiting(%s)", job_id)
    db.execute("select pgqueue.resume_queue(%s)", (text,))
    db.execute("select pgqueue.resume_job_type(%s)", (text,))
    by = worker(db, [text], job_types=[text], name=text)
    db.execute("select * from pgqueue.rest(%s)", ([text],))
    db.execute("select pgqueue.leave(%s, true)", ([text],))
    claimed = claim(db, by, queues=[text])
    shown = column(db, "select queue from pgqueue.job_status where id = %s", job_id)

    assert text in held
    assert [job.job_id for job in claimed] == [job_id]
    assert shown == [text]


def test_a_trigger_function_cannot_be_called_or_used_by_others(db: Db, login: Login) -> None:
    """A table of one's own with our definer trigger on it would route foreign rows."""
    producer = login("pgqueue_producer")
    producer.execute("create temp table fake (id uuid)")
    found = sqlstate_of(
        producer,
        "create trigger t after insert on fake referencing new table as inserted"
        " for each statement execute function pgqueue.route_inserted()",
    )

    assert found == "42501"
