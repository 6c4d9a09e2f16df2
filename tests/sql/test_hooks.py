"""Hooks: an application's functions in the queue's transactions, and what their errors do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    place,
    report,
    row,
    run_one,
    status,
    value,
    worker,
    worker_dies,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.sqljobs import Db

_HELD = (
    "blocked: held back by shop\\.on_jobs since 2[0-9:+ -]+, until that function lets it go;"
    " cancel it, or as the owner of the schema: select pgqueue\\.unhold\\(array\\['{}'::uuid\\]\\)"
)
# It writes down what it hears; {"hold": true} holds a job back, {"refuse": EVENT} raises at EVENT.
_HOOK = """
create schema shop authorization pgqueue_owner;
set role pgqueue_owner;
create table shop.heard (
    n bigint generated always as identity, event text, job_ids uuid[], statuses text[]);
create function shop.on_jobs(p_event text, p_job_ids uuid[]) returns uuid[]
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_refused uuid;
begin
    insert into shop.heard (event, job_ids, statuses)
    select p_event, p_job_ids, array(
        select f.status from pgqueue.finished f where f.job_id = any (p_job_ids) order by f.job_id);
    select j.id into v_refused from pgqueue.jobs j
    where j.id = any (p_job_ids) and j.payload ->> 'refuse' = p_event limit 1;
    if found then
        raise exception using errcode = 'SH001', message = 'the shop refuses';
    end if;
    return array(
        select j.id from pgqueue.jobs j
        where j.id = any (p_job_ids) and j.payload ? 'hold' order by j.id);
end
$$;
select pgqueue.set_hook('t', 'shop.on_jobs');
reset role;
"""


@pytest.fixture
def shop(db: Db) -> Db:
    """A database in which type t has a hook."""
    db.execute(_HOOK)
    return db


def _heard(db: Db, event: str) -> list[tuple[list[UUID], list[str]]]:
    return db.execute(
        "select job_ids, statuses from shop.heard where event = %s order by n", (event,)
    ).fetchall()


def _accept(db: Db) -> None:
    """The shop refuses nothing any more: the payload of waiting jobs can change, ours has not."""
    db.execute(
        """create or replace function shop.on_jobs(p_event text, p_job_ids uuid[]) returns uuid[]
        language sql set search_path = pg_catalog, pg_temp as $$
            insert into shop.heard (event, job_ids) values (p_event, p_job_ids)
            returning null::uuid[]
        $$"""
    )


def test_an_insert_calls_the_hook_once_for_all_its_jobs(shop: Db) -> None:
    """Three jobs of the type and one of another: one call, with the three in order."""
    found = shop.execute(
        """insert into pgqueue.jobs (job_type, run_at)
        values ('t', null), ('u', null), ('t', '2100-01-01'), ('t', null) returning id, job_type"""
    ).fetchall()
    ids = sorted(job_id for job_id, job_type in found if job_type == "t")

    assert _heard(shop, "insert") == [(ids, [])]


def test_an_error_at_insert_refuses_the_insert(shop: Db) -> None:
    """With the hook's own SQLSTATE; no job of the statement is left."""
    with pytest.raises(psycopg.Error, match="the shop refuses") as caught:
        insert(shop, payload={"refuse": "insert"})

    assert caught.value.sqlstate == "SH001"
    assert column(shop, "select id from pgqueue.jobs") == []


def test_a_job_that_is_held_waits_until_it_is_let_go(shop: Db) -> None:
    """Nobody can claim it; unhold() makes it ready, or scheduled when its time has not come."""
    now = insert(shop, payload={"hold": True})
    later = insert(shop, payload={"hold": True}, run_at="2100-01-01")
    free = insert(shop)
    by = worker(shop)
    claimed = [job.job_id for job in claim(shop, by)]
    why = value(shop, "select pgqueue.why_waiting(%s)", now)
    let_go = value(shop, "select pgqueue.unhold(%s)", [later, now, free])

    assert claimed == [free]
    assert re.fullmatch(_HELD.format(now), why)
    assert let_go == [later, now]
    assert (status(shop, now), status(shop, later)) == ("queued", "scheduled")
    assert claim(shop, by)[0].job_id == now


def test_a_job_held_by_a_hook_that_was_dropped_says_so(shop: Db) -> None:
    """Nobody else would let it go; what to do is in the words."""
    job_id = insert(shop, payload={"hold": True})
    shop.execute("select pgqueue.drop_hook('t', 'shop.on_jobs')")
    why = value(shop, "select pgqueue.why_waiting(%s)", job_id)
    shop.execute(why[why.index("select pgqueue.unhold") :])

    assert why.startswith("blocked: held back by a hook that has been dropped, since 2")
    assert status(shop, job_id) == "queued"


def test_a_job_that_waits_for_its_parent_and_for_a_hook_says_both(shop: Db) -> None:
    """Who finishes the parent must not find out next that the job is held."""
    parent = insert(shop, "u")
    child = insert(shop, payload={"hold": True}, depends_on=(parent,))
    why = value(shop, "select pgqueue.why_waiting(%s)", child)

    assert why.startswith(f"blocked: waits for 1 job, {parent} (queued); and held back by shop.")


def test_a_held_job_can_be_cancelled(shop: Db) -> None:
    """The hook hears of it as of any other end."""
    job_id = insert(shop, payload={"hold": True})

    assert value(shop, "select pgqueue.cancel(%s)", job_id) == "cancelled"
    assert _heard(shop, "finish") == [([job_id], ["cancelled"])]


def test_a_held_child_waits_for_its_parent_and_for_the_hook(shop: Db) -> None:
    """Whichever lets go first; when the parent fails, the child fails though it is held."""
    parents = [insert(shop, "u") for _ in range(3)]
    children = [insert(shop, payload={"hold": True}, depends_on=(one,)) for one in parents]
    shop.execute("select pgqueue.complete(%s, %s)", claim_this(shop, parents[0]).owned)
    parent_first = value(shop, "select pgqueue.why_waiting(%s)", children[0])
    shop.execute("select pgqueue.unhold(%s)", (children,))
    hook_first = value(shop, "select pgqueue.why_waiting(%s)", children[1])
    shop.execute("select pgqueue.complete(%s, %s)", claim_this(shop, parents[1]).owned)
    held = insert(shop, payload={"hold": True}, depends_on=(parents[2],))
    shop.execute("select pgqueue.fail(%s, %s, null, false)", claim_this(shop, parents[2]).owned)

    assert re.fullmatch(_HELD.format(children[0]), parent_first)
    assert hook_first.startswith(f"blocked: waits for 1 job, {parents[1]}")
    assert [status(shop, one) for one in (*children, held)] == [
        "queued",
        "queued",
        "failed",
        "failed",
    ]


def test_a_held_follow_up_takes_the_key_and_waits_for_the_hook(shop: Db) -> None:
    """When the holder has finished; then it is the hook alone that it waits for."""
    holder = run_one(shop, unique_key="k")
    follow_up = value(
        shop,
        """select pgqueue.enqueue('t', '{"hold": true}', p_unique_key => 'k',
        p_on_duplicate => 'replace')""",
    )
    before = row(shop, "select reason, flags & 1024 from pgqueue.blocked")
    shop.execute("select pgqueue.complete(%s, %s)", holder.owned)
    after = row(shop, "select reason, flags & 1025 from pgqueue.blocked")
    shop.execute("select pgqueue.unhold(array[%s]::uuid[])", (follow_up,))

    assert (before, after) == (("follow_up", 1024), ("hook", 1025))
    assert status(shop, follow_up) == "queued"


def test_a_batch_that_finishes_calls_the_hook_once(shop: Db) -> None:
    """Two successes, one of them partial, by one report."""
    ids = sorted(insert(shop) for _ in range(2))
    jobs = sorted(claim(shop, worker(shop)), key=lambda job: job.job_id)
    report(shop, jobs, [None, {"errors": [{"code": "c"}]}])

    assert _heard(shop, "finish") == [(ids, ["succeeded", "partial"])]


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        ("select pgqueue.complete(%(id)s, %(token)s)", "succeeded"),
        ("select pgqueue.fail(%(id)s, %(token)s, null, false)", "failed"),
        ("select pgqueue.cancel_running(%(id)s, %(token)s)", "cancelled"),
        ("select pgqueue.fail(%(id)s, %(token)s)", None),
        ("select pgqueue.snooze(%(id)s, %(token)s, '1 day')", None),
        ("select pgqueue.release(%(id)s, %(token)s)", None),
    ],
)
def test_the_hook_hears_of_the_end_of_a_job_and_of_no_other_attempt(
    shop: Db, end: str, ended: str | None
) -> None:
    """A retry, a snooze and a release are no end."""
    job = run_one(shop)
    shop.execute(end, {"id": job.job_id, "token": job.token})

    assert _heard(shop, "finish") == ([] if ended is None else [([job.job_id], [ended])])


def test_the_hook_hears_of_jobs_that_maintenance_and_operators_end(shop: Db) -> None:
    """Expired, rescued for the last time, purged, and failed with a parent."""
    by = worker(shop)
    lost = insert(shop, max_attempts=1)
    claim_this(shop, lost, by)
    expired = insert(shop, expires_at="2001-01-01")
    parent = insert(shop, "u", queue="other")
    child = insert(shop, depends_on=(parent,), queue="third")
    worker_dies(shop, by)
    shop.execute("select pgqueue.maintain()")
    shop.execute("select pgqueue.cancel(%s)", (parent,))
    purged = insert(shop)
    shop.execute("select pgqueue.purge_queue('default')")
    heard = {ids[0]: statuses[0] for ids, statuses in _heard(shop, "finish")}

    assert heard == {lost: "failed", expired: "cancelled", child: "failed", purged: "cancelled"}


def test_an_error_at_completion_goes_to_the_handler(shop: Db) -> None:
    """complete() raises it; nothing has happened, and the job still runs."""
    job = run_one(shop, payload={"refuse": "finish"})
    with pytest.raises(psycopg.Error) as caught:
        shop.execute("select pgqueue.complete(%s, %s)", job.owned)

    assert caught.value.sqlstate == "SH001"
    assert status(shop, job.job_id) == "running"


@pytest.mark.parametrize("outcome", [None, {"follow_ups": [{"job_type": "next"}]}])
def test_an_error_in_a_report_fails_that_attempt_alone(
    shop: Db, outcome: dict[str, Any] | None
) -> None:
    """Its mates have finished, and were heard of; nothing is counted or left of its success."""
    ids = [insert(shop, payload={"refuse": "finish"} if n == 1 else {}) for n in range(3)]
    jobs = claim(shop, worker(shop))
    outcomes = [None if outcome is None or n != 1 else outcome for n in range(3)]
    answers = report(shop, jobs, outcomes)
    told = row(shop, "select outcome, error ->> 'message' from pgqueue.attempts")
    shop.execute("select pgqueue.merge_stats()")
    counted = dict(
        shop.execute(
            "select outcome, sum(jobs)::int from (select outcome, jobs from pgqueue.stats_log union"
            " all select outcome, jobs from pgqueue.stats where span = 'minute') s group by outcome"
        ).fetchall()
    )
    again = report(shop, jobs, outcomes)

    assert [status(shop, one) for one in ids] == ["succeeded", "retrying", "succeeded"]
    assert told == ("retrying", "a hook of its job type refused its completion: the shop refuses")
    assert (answers, again) == ({}, {})
    assert counted == {"succeeded": 2, "retrying": 1}
    assert column(shop, "select id from pgqueue.jobs where job_type = 'next'") == []
    assert {one for heard, _ in _heard(shop, "finish") for one in heard} == {ids[0], ids[2]}


def test_a_report_answers_for_a_completion_that_a_hook_refused(shop: Db) -> None:
    """The worker hears what became of it; the same when it repeats the report."""
    job = run_one(shop, payload={"refuse": "finish"}, max_attempts=1)
    answers = [
        shop.execute(
            "select status, refused from pgqueue.report(%s, %s)", ([job.job_id], [job.token])
        ).fetchall()
        for _ in range(2)
    ]

    assert answers == [[("failed", None)], [("failed", None)]]


def test_a_job_fails_though_its_hook_does_too(shop: Db) -> None:
    """The call is kept, and repeated by maintenance until it succeeds."""
    job = run_one(shop, payload={"refuse": "finish"})
    shop.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    kept = row(shop, "select job_id, tries, error from pgqueue.hook_calls")
    shop.execute("update pgqueue.hook_calls set next_try_at = now()")
    shop.execute("select pgqueue.maintain()")
    tried = value(shop, "select tries from pgqueue.hook_calls")
    _accept(shop)
    shop.execute("update pgqueue.hook_calls set next_try_at = now()")
    shop.execute("select pgqueue.maintain()")

    assert kept == (job.job_id, 1, "the shop refuses")
    assert tried == 2
    assert column(shop, "select job_id from pgqueue.hook_calls") == []
    assert [ids for ids, _ in _heard(shop, "finish")] == [[job.job_id]]


def test_a_retry_tells_the_hook_of_the_last_end_first(shop: Db) -> None:
    """And is refused while the hook refuses that."""
    job = run_one(shop, payload={"refuse": "finish"})
    shop.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    with pytest.raises(psycopg.Error, match="the shop refuses"):
        shop.execute("select pgqueue.retry(%s)", (job.job_id,))
    _accept(shop)
    shop.execute("select pgqueue.retry(%s)", (job.job_id,))

    assert column(shop, "select event from shop.heard order by n") == ["insert", "finish", "retry"]
    assert status(shop, job.job_id) == "queued"


def test_redrive_asks_once_for_all_and_holds_what_is_to_be_held(shop: Db) -> None:
    """Two failed jobs run again; one of them is to be held."""
    ids = sorted(insert(shop) for _ in range(2))
    for job in claim(shop, worker(shop)):
        shop.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    shop.execute(
        """create or replace function shop.on_jobs(p_event text, p_job_ids uuid[]) returns uuid[]
        language sql set search_path = pg_catalog, pg_temp as $$
            insert into shop.heard (event, job_ids) values (p_event, p_job_ids)
            returning p_job_ids[1:1]
        $$"""
    )
    redriven = value(shop, "select pgqueue.redrive()")

    assert redriven == 2
    assert [ids for ids, _ in _heard(shop, "retry")] == [ids]
    assert sorted(status(shop, one) for one in ids) == ["blocked", "queued"]


def _fail_all(db: Db) -> None:
    for job in claim(db, worker(db)):
        db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)


def test_redrive_leaves_a_job_whose_hook_does_not_hear_of_its_end(shop: Db) -> None:
    """The others run again."""
    deaf = insert(shop, payload={"refuse": "finish"})
    others = [insert(shop), insert(shop, "u")]
    _fail_all(shop)
    redriven = value(shop, "select pgqueue.redrive()")

    assert redriven == 2
    assert status(shop, deaf) == "failed"
    assert [status(shop, one) for one in others] == ["queued", "queued"]


def test_redrive_leaves_a_job_that_a_hook_refuses_to_run_again(shop: Db) -> None:
    """The others run again, asked for all at once; another takes its place within the limit."""
    refused = insert(shop, payload={"refuse": "retry"})
    others = sorted(insert(shop) for _ in range(2))
    _fail_all(shop)
    redriven = value(shop, "select pgqueue.redrive(p_limit => 2)")

    assert redriven == 2
    assert status(shop, refused) == "failed"
    assert [status(shop, one) for one in others] == ["queued", "queued"]
    assert [ids for ids, _ in _heard(shop, "retry")] == [others]


def test_redrive_brings_a_child_back_with_its_parent_beside_a_job_that_is_refused(
    shop: Db,
) -> None:
    """The child cannot be tried alone, while its parent has failed; that is no refusal."""
    refused, parent = insert(shop, payload={"refuse": "retry"}), insert(shop)
    child = insert(shop, depends_on=(parent,))
    _fail_all(shop)
    shop.execute(
        "update pgqueue.finished set finished_at = finished_at + interval '1 second'"
        " where job_id = %s",
        (child,),
    )
    redriven = value(shop, "select pgqueue.redrive()")

    assert redriven == 2
    assert [status(shop, one) for one in (refused, parent, child)] == [
        "failed",
        "queued",
        "blocked",
    ]


def test_calls_of_a_hook_that_has_been_dropped_are_forgotten(shop: Db) -> None:
    """By maintenance, and by a retry: it would refuse for ever, and nobody could help."""
    retried, kept = (insert(shop, payload={"refuse": "finish"}) for _ in range(2))
    _fail_all(shop)
    shop.execute("select pgqueue.drop_hook('t', 'shop.on_jobs')")
    shop.execute("select pgqueue.retry(%s)", (retried,))
    left = column(shop, "select job_id from pgqueue.hook_calls")
    shop.execute("update pgqueue.hook_calls set next_try_at = now()")
    shop.execute("select pgqueue.maintain()")

    assert left == [kept]
    assert column(shop, "select job_id from pgqueue.hook_calls") == []
    assert _heard(shop, "finish") == []


def test_a_hook_that_has_been_dropped_is_called_no_more(shop: Db) -> None:
    """Jobs on their way finish without it; new ones carry no mark."""
    job = run_one(shop)
    shop.execute("select pgqueue.drop_hook('t', 'shop.on_jobs')")
    shop.execute("select pgqueue.complete(%s, %s)", job.owned)
    insert(shop)

    assert _heard(shop, "finish") == []
    assert column(shop, "select flags from pgqueue.ready") == [0]


def test_retention_forgets_what_is_kept_of_a_job(shop: Db) -> None:
    """A hook that never succeeds does not keep the job for ever."""
    job = run_one(shop, payload={"refuse": "finish"})
    shop.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
    shop.execute("delete from pgqueue.jobs where id = %s", (job.job_id,))

    assert place(shop, job.job_id) == "nowhere"
    assert column(shop, "select job_id from pgqueue.hook_calls") == []


def test_maintenance_calls_each_hook_once_without_jobs(shop: Db) -> None:
    """Although two types have it."""
    shop.execute("set role pgqueue_owner; select pgqueue.set_hook('u', 'shop.on_jobs'); reset role")
    shop.execute("select pgqueue.maintain()")

    assert _heard(shop, "maintain") == [([], [])]
