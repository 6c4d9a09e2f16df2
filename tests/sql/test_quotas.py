"""Quotas of tenants: what is refused, by which door, and what it costs those who have none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgqueue.errors import QuotaExceeded, from_psycopg
from tests.support.sqljobs import (
    claim,
    column,
    insert,
    refused,
    report,
    row,
    sqlstate_of,
    value,
    worker,
)

if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_LIKE_A = (
    "insert into pgqueue.jobs (job_type, tenant_id) select 't', 'a' from generate_series(1, %s)"
)


def _quota(db: Db, waiting: int | None = None, **more: int) -> None:
    """Of tenant a."""
    db.execute(
        "select pgqueue.set_tenant_quota('a', %s, %s, %s)",
        (waiting, more.get("waiting_bytes"), more.get("payload_bytes")),
    )


def _waiting(db: Db, tenant: str = "a") -> int:
    return int(
        value(
            db,
            "select count(*) from pgqueue.ready r join pgqueue.jobs j on j.id = r.job_id"
            " where j.tenant_id = %s",
            tenant,
        )
    )


@pytest.mark.parametrize("counted", [False, True])
def test_a_tenant_has_so_many_jobs_waiting_and_not_one_more(db: Db, *, counted: bool) -> None:
    """One by one, in bulk, before and after maintenance has counted; other tenants go on."""
    _quota(db, 10)
    db.execute(_LIKE_A, (6,))
    if counted:
        db.execute("select pgqueue.count_tenants()")
    for _ in range(4):
        insert(db, tenant_id="a")
    with refused("PQ008"):
        insert(db, tenant_id="a")
    with refused("PQ008"):
        db.execute(_LIKE_A, (500,))
    insert(db, tenant_id="b")
    insert(db)

    assert _waiting(db) == 10


def test_the_refusal_says_whose_quota_how_many_wait_and_what_to_do(db: Db) -> None:
    """And reaches Python as an error of its own."""
    _quota(db, 3)
    db.execute(_LIKE_A, (2,))
    with pytest.raises(psycopg.Error) as caught:
        db.execute(_LIKE_A, (5,))
    error = from_psycopg(caught.value)

    assert caught.value.diag.message_primary == (
        "the quota of tenant 'a' is exceeded: 2 jobs waiting and 5 more; waiting_max is 3"
    )
    assert isinstance(error, QuotaExceeded)
    assert "later" in str(error.hint)


def test_room_is_there_as_soon_as_a_job_starts(db: Db) -> None:
    """Without waiting for the next count, though the last one says there is none."""
    _quota(db, 5)
    db.execute(_LIKE_A, (5,))
    db.execute("select pgqueue.count_tenants()")
    jobs = claim(db, worker(db), 2)
    db.execute(_LIKE_A, (2,))
    with refused("PQ008"):
        insert(db, tenant_id="a")
    report(db, jobs)
    with refused("PQ008"):
        insert(db, tenant_id="a")
    claim(db, worker(db), 5)
    db.execute("select pgqueue.count_tenants()")
    db.execute(_LIKE_A, (5,))

    assert _waiting(db) == 5


def test_every_waiting_status_counts(db: Db) -> None:
    """Scheduled, blocked and retrying as well as queued."""
    _quota(db, 4)
    parent = insert(db, tenant_id="a")
    insert(db, tenant_id="a", run_at="2100-01-01")
    insert(db, tenant_id="a", depends_on=(parent,))
    retried = insert(db, tenant_id="a", priority=0)
    (job,) = claim(db, worker(db), 1)
    db.execute("select pgqueue.fail(%s, %s, p_retry_after => '1 hour')", job.owned)

    assert job.job_id == retried
    with refused("PQ008"):
        insert(db, tenant_id="a")


def test_bytes_waiting_and_bytes_of_one_payload_have_limits_of_their_own(db: Db) -> None:
    """Sizes are those of jsonb, before compression."""
    _quota(db, waiting_bytes=5_000, payload_bytes=2_000)
    for _ in range(3):
        insert(db, tenant_id="a", payload={"x": "y" * 1_500})
    with refused("PQ008"):
        insert(db, tenant_id="a", payload={"x": "y" * 1_500})
    with refused("PQ008"):
        insert(db, tenant_id="a", payload={"x": "y" * 2_500})
    insert(db, tenant_id="a")
    db.execute("select pgqueue.count_tenants()")
    with refused("PQ008"):
        insert(db, tenant_id="a", payload={"x": "y" * 1_500})

    assert _waiting(db) == 4


@pytest.mark.parametrize("how", ["replace", "merge"])
def test_a_replaced_payload_is_held_to_the_quota(db: Db, how: str) -> None:
    """Otherwise an upsert would be the way around it."""
    _quota(db, waiting_bytes=3_000, payload_bytes=2_000)
    query = (
        "select pgqueue.enqueue('t', %s, p_tenant_id => 'a', p_unique_key => %s,"
        " p_on_duplicate => %s)"
    )
    for key in ("k", "other"):
        db.execute(query, ('{"x": 1}', key, how))
    db.execute(query, (json.dumps({"x": "y" * 1_500}), "k", how))
    for key, size in (("k", 2_500), ("other", 1_800)):
        with refused("PQ008"):
            db.execute(query, (json.dumps({"x": "y" * size}), key, how))
    db.execute(query, ('{"x": 2}', "k", how))
    db.execute(query, (json.dumps({"x": "y" * 1_800}), "other", how))

    assert _waiting(db) == 2


def _copy(db: Db, rows: int) -> None:
    with db.cursor().copy("copy pgqueue.jobs (job_type, tenant_id) from stdin") as copy:
        for _ in range(rows):
            copy.write_row(("t", "a"))


def _inbox(db: Db, rows: int) -> None:
    for _ in range(rows):
        db.execute("insert into pgqueue.inbox (job_type, tenant_id) values ('t', 'a')")


def _many(db: Db, rows: int) -> None:
    jobs = [{"job_type": "t", "tenant_id": "a"}] * rows
    db.execute("select * from pgqueue.enqueue_many(%s)", (json.dumps(jobs),))


def _keyed(db: Db, rows: int) -> None:
    for n in range(rows):
        db.execute("select pgqueue.enqueue('t', p_tenant_id => 'a', p_unique_key => %s)", (str(n),))


@pytest.mark.parametrize("door", [_copy, _inbox, _many, _keyed])
def test_every_door_is_held_to_it(db: Db, door: Any) -> None:
    """COPY, the inbox, enqueue_many() as a whole, enqueue() with keys."""
    _quota(db, 3)
    door(db, 3)
    with refused("PQ008"):
        door(db, 4)

    assert _waiting(db) == 3


def test_a_follow_up_beyond_the_quota_makes_its_job_try_again_later(db: Db) -> None:
    """There may be room then; its batch-mates are completed."""
    _quota(db, 1)
    first = insert(db, tenant_id="a")
    other = insert(db)
    jobs = claim(db, worker(db), 10)
    insert(db, tenant_id="a")
    report(db, jobs, [{"follow_ups": [{"job_type": "next"}]}, {}])

    assert column(db, "select status from pgqueue.job_status where id = %s", first) == ["retrying"]
    assert column(db, "select status from pgqueue.job_status where id = %s", other) == ["succeeded"]
    assert "quota" in value(db, "select error ->> 'message' from pgqueue.attempts")


def test_a_schedules_run_beyond_the_quota_is_recorded(db: Db) -> None:
    """As refused, with the reason; maintenance goes on."""
    _quota(db, 0)
    db.execute("select pgqueue.set_schedule('s', '* * * * *', 't', p_tenant_id => 'a')")
    db.execute("update pgqueue.schedules set next_tick_at = now() - interval '1 second'")
    db.execute("select * from pgqueue.maintain()")
    outcome, error = row(db, "select outcome, error from pgqueue.schedule_runs")

    assert outcome == "refused"
    assert "quota of tenant 'a'" in error


def test_callbacks_are_never_refused(db: Db) -> None:
    """They are enqueued where their job finishes, which must not fail for it."""
    _quota(db, 1)
    db.execute("select pgqueue.add_callback_secret('example.com')")
    insert(db, tenant_id="a", callback_url="https://example.com/done")
    jobs = claim(db, worker(db), 1)
    insert(db, tenant_id="a")
    report(db, jobs)

    assert column(db, "select status from pgqueue.job_status order by created_at") == [
        "succeeded",
        "queued",
        "queued",
    ]


def test_what_waits_when_the_quota_is_set_counts(db: Db) -> None:
    """Running jobs too, when they come back."""
    db.execute(_LIKE_A, (6,))
    jobs = claim(db, worker(db), 1)
    _quota(db, 6)
    insert(db, tenant_id="a")
    db.execute("select pgqueue.release(%s, %s)", jobs[0].owned)

    with refused("PQ008"):
        insert(db, tenant_id="a")


def test_a_quota_changes_and_goes(db: Db) -> None:
    """What it does not name has no limit any more."""
    _quota(db, 1)
    insert(db, tenant_id="a")
    _quota(db, 2, payload_bytes=100)
    insert(db, tenant_id="a")
    tight = sqlstate_of(db, _LIKE_A, 1)
    _quota(db)
    db.execute(_LIKE_A, (100,))

    assert tight == "PQ008"
    assert column(db, "select count(*) from pgqueue.tenant_jobs") == [0]


def test_jobs_without_a_tenant_can_have_a_quota(db: Db) -> None:
    """As the tenant ''."""
    db.execute("select pgqueue.set_tenant_quota('', 1)")
    insert(db)
    insert(db, tenant_id="a")
    with refused("PQ008"):
        insert(db)


def test_finished_jobs_are_forgotten_by_the_count(db: Db) -> None:
    """Nothing piles up, and a second count writes over the first."""
    _quota(db, 100)
    db.execute(_LIKE_A, (50,))
    report(db, claim(db, worker(db), 30))
    for _ in range(3):
        db.execute("select * from pgqueue.maintain()")
    kept = value(db, "select count(*) from pgqueue.tenant_jobs")
    counts = db.execute("select waiting, waiting_bytes > 0 from pgqueue.tenant_counts").fetchall()

    assert kept == 20
    assert counts == [(20, True)]


def test_without_a_quota_the_triggers_are_disabled(db: Db) -> None:
    """They come with the first quota, go with the last, survive an install, and drift() agrees."""
    query = (
        "select string_agg(tgenabled::text, '' order by tgname) from pg_trigger"
        " where tgname ~ '^jobs_tenant_quota'"
    )
    seen = []
    for tenant, quota in (("a", 1), ("b", 1), ("", 1), ("a", None), ("", None), ("b", None)):
        db.execute("select pgqueue.set_tenant_quota(%s, %s)", (tenant, quota))
        seen.append((value(db, query), db.execute("select * from pgqueue.drift()").fetchall()))

    # jobs_tenant_quota, _all (jobs without a tenant have one), _updated
    assert [state for state, _ in seen] == ["ODO", "ODO", "DOO", "DOO", "ODO", "DDD"]
    assert [drift for _, drift in seen] == [[]] * 6


@pytest.mark.parametrize(
    "arguments", ["null, 1", "'a', -1", "'a', 10000001", "'a', null, -1", "'a', null, null, -1"]
)
def test_a_quota_that_makes_no_sense_is_refused(db: Db, arguments: str) -> None:
    """Before anything is locked."""
    with refused("PQ006"):
        db.execute(f"select pgqueue.set_tenant_quota({arguments})")


_ONE = """create function pg_temp.one() returns void language sql
    as $$ insert into pgqueue.jobs (job_type, tenant_id) values ('t', 'a') $$"""


def _buffers(db: Db) -> int:
    found = row(db, "explain (analyze, buffers, format json) select pg_temp.one()")[0][0]["Plan"]
    return int(found["Shared Hit Blocks"]) + int(found["Shared Read Blocks"])


def test_an_insert_costs_what_came_since_the_last_count_whatever_waits(connect: Connect) -> None:
    """Counted buffers: 10 jobs waiting, and 5,000, under a held snapshot."""
    db, holder = connect(), connect(autocommit=False)
    db.execute(_ONE)
    db.execute("select pgqueue.set_tenant_quota('a', 1000000)")
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select 1 from pgqueue.ready limit 1")
    for _ in range(8):
        _buffers(db)
    db.execute("select pgqueue.count_tenants()")
    before = _buffers(db)
    db.execute(_LIKE_A, (5_000,))
    dear = _buffers(db)
    report(db, claim(db, worker(db), 3_000))
    db.execute("update pgqueue.tenant_counts set cost = '0'")
    db.execute("select pgqueue.count_tenants()")
    after = _buffers(db)
    holder.rollback()

    assert dear > 1.5 * before  # else the last line would prove nothing
    assert after <= 1.3 * before
