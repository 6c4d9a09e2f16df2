"""A job's whole life by SQL alone: through a driver, and through psql."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.psql import psql
from tests.support.sqljobs import claim, insert, place, row, value, worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sqljobs import Db

_SCRIPT = r"""
select pgqueue.register_job_types('[{"job_type": "greet", "queue": "mail"}]') \g /dev/null
insert into pgqueue.jobs (job_type, payload) values ('greet', '{"name": "Ada"}')
    returning id as job \gset
select pgqueue.register_worker('psql', '{mail}') as worker \gset
select job_id as claimed, token, payload from pgqueue.claim(:worker, '{mail}') \gset
select :'claimed' = :'job', :'payload';
select pgqueue.progress(:'claimed', :token, 50, 'half') \g /dev/null
select pgqueue.extend(:'claimed', :token, '5 minutes') > now() + interval '4 minutes';
select lease_until > now(), draining, cancel_job_ids from pgqueue.heartbeat(:worker);
select pgqueue.complete(:'claimed', :token, '{"greeted": true}',
    p_created => '[["Greeting", "g-1"]]');
select status, result, progress, progress_message from pgqueue.finished where job_id = :'job';
select entity_type, entity_id from pgqueue.job_results where job_id = :'job';
select pgqueue.stop_worker(:worker);
select count(*) from pgqueue.verify();
"""


def test_a_person_in_psql_can_do_the_whole_life_of_a_job(dsn: str, tmp_path: Path) -> None:
    """By psql -f: plain INSERT, register, claim, progress, extend, heartbeat and complete."""
    file = tmp_path / "life.sql"
    file.write_text(_SCRIPT, encoding="utf-8")

    assert psql(dsn, file=file).splitlines() == [
        't|{"name": "Ada"}',
        "t",
        "t|f|{}",
        "succeeded",
        'succeeded|{"greeted": true}|50|half',
        "Greeting|g-1",
        "0",
        "0",
    ]


def test_a_job_is_in_exactly_one_table_at_each_step(db: Db) -> None:
    """ready, running, scheduled, ready, running, finished: a move deletes where it came from."""
    job_id = insert(db)
    by = worker(db)
    seen = [place(db, job_id)]
    (first,) = claim(db, by)
    seen.append(place(db, job_id))
    db.execute("select pgqueue.fail(%s, %s, p_retry_after => '1 day')", first.owned)
    seen.append(place(db, job_id))
    db.execute("select pgqueue.retry(%s)", (job_id,))
    seen.append(place(db, job_id))
    (second,) = claim(db, by)
    seen.append(place(db, job_id))
    db.execute("select pgqueue.complete(%s, %s)", second.owned)
    seen.append(place(db, job_id))

    assert seen == ["ready", "running", "scheduled", "ready", "running", "finished"]
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.token > first.token


def test_a_claim_tells_all_that_a_handler_needs(db: Db) -> None:
    """The payload and headers arrive as text, the type's settings arrive resolved."""
    db.execute("select pgqueue.set_job_type('t', p_max_attempts => 7, p_timeout => '90 s')")
    job_id = insert(
        db, payload={"a": [1]}, headers={"trace": "x"}, priority=0, tenant_id="acme", queue="q"
    )
    by = worker(db, ["q"])
    (job,) = claim(db, by, queues=["q"])

    assert (job.job_id, job.job_type, job.queue, job.priority) == (job_id, "t", "q", 0)
    assert (job.attempt, job.max_attempts, job.run_seconds_max) == (1, 7, 90.0)
    assert (job.payload, job.headers, job.tenant_id) == ('{"a": [1]}', '{"trace": "x"}', "acme")


def test_a_jobs_own_limits_win_over_its_types(db: Db) -> None:
    """max_attempts and timeout of the row, then of the type, then of the settings."""
    db.execute("select pgqueue.set_job_type('t', p_max_attempts => 7, p_timeout => '90 s')")
    insert(db, max_attempts=2, timeout="5 s")
    insert(db)
    insert(db, "other")
    found = claim(db, worker(db))

    assert [(job.max_attempts, job.run_seconds_max) for job in found] == [
        (2, 5.0),
        (7, 90.0),
        (5, None),
    ]


def test_the_finished_row_is_the_history_of_the_happy_path(db: Db) -> None:
    """No row in attempts; finished says who ran it, when, and as which attempt."""
    job_id = insert(db)
    by = worker(db)
    (job,) = claim(db, by)
    db.execute("select pgqueue.complete(%s, %s)", job.owned)
    found = row(
        db,
        """select worker_id, token, attempt, ready_at <= started_at, started_at <= finished_at
           from pgqueue.finished where job_id = %s""",
        job_id,
    )

    assert found == (by, job.token, 1, True, True)
    assert value(db, "select count(*) from pgqueue.attempts") == 0


def test_registering_a_worker_twice_with_one_instance_is_one_worker(db: Db) -> None:
    """A lost reply must not leave a second worker behind."""
    call = """select pgqueue.register_worker('w',
        p_instance => '00000000-0000-4000-8000-000000000001')"""

    assert value(db, call) == value(db, call)
    assert value(db, "select count(*) from pgqueue.workers") == 1
