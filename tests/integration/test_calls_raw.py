"""Claims and reports travel in binary: what they say is what the tables say."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pgqueue import calls
from pgqueue.calls import Reported, run
from pgqueue.calls.claimed import id_array

if TYPE_CHECKING:
    import psycopg

    Database = psycopg.Connection[Any]

LEASE = dt.timedelta(minutes=1)


def claimed(db: Database, count: int) -> tuple[int, list[calls.Claimed]]:
    """Insert and claim jobs."""
    db.execute(
        "insert into pgqueue.jobs (job_type, payload, headers, max_attempts, timeout)"
        " select 't', '{\"word\": \"žluť\"}', '{\"trace\": 1}', 3, '1.5 seconds'"
        " from generate_series(1, %s)",
        (count,),
    )
    call = calls.register_worker(
        "w", queues=["default"], job_types=None, lease=LEASE, instance=uuid4()
    )
    worker = run(db, call)
    return worker, run(db, calls.claim(worker, queues=["default"], limit=count))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_a_claimed_job_says_what_is_stored(db: Database, zone: str) -> None:
    """Ids, times and texts are those of the tables, whatever the session's settings."""
    db.execute("select set_config('timezone', %s, false)", (zone,))
    db.execute("set datestyle = 'SQL, DMY'")
    _, (job,) = claimed(db, 1)
    db.execute("reset datestyle")
    stored = db.execute(
        "select j.id, r.token, j.created_at, r.ready_at, j.payload ->> 'word', r.attempt"
        " from pgqueue.jobs j join pgqueue.running r on r.job_id = j.id"
    ).fetchone()

    said = (job.job_id, job.token, job.created_at, job.ready_at, "žluť", job.attempt)
    assert stored == said
    assert (job.payload, job.headers) == ('{"word": "žluť"}', '{"trace": 1}')
    assert (job.job_type, job.queue, job.tenant_id) == ("t", "default", None)
    assert (job.max_attempts, job.run_seconds_max) == (3, 1.5)


def test_ids_are_reported_as_they_came_or_as_uuids(db: Database) -> None:
    """Both are the same array to the server; an empty one is none."""
    worker, (one, two, three) = claimed(db, 3)

    assert run(db, calls.report([], [])) == []
    assert run(db, calls.report([one.key, two.job_id], [one.token, two.token])) == []
    again = calls.exchange(
        worker, queues=["default"], limit=5, floors=None, job_ids=[three.key], tokens=[0]
    )
    assert run(db, again) == calls.Exchanged([Reported(three.job_id, 0, "lease_lost", None)], [])
    assert db.execute("select count(*) from pgqueue.finished").fetchone() == (2,)


def test_an_array_of_ids_is_what_the_server_reads(db: Database) -> None:
    """In order, with bounds from one, and empty as '{}'."""
    ids = [uuid4() for _ in range(3)]
    call: calls.Call[Any] = calls.Call(
        "select (%s::uuid[])::text, (%s::uuid[])::text",
        (id_array(ids), id_array([])),
        list,
        raw=True,
    )

    assert run(db, call) == [("{" + ",".join(map(str, ids)) + "}", "{}")]
