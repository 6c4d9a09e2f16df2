"""enqueue() and enqueue_many(): what happens to a duplicate of a job in each status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import (
    STATUSES,
    claim,
    claim_this,
    column,
    insert,
    job_in,
    place,
    refused,
    row,
    run_one,
    status,
    value,
    worker,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.sqljobs import Db

_MODES = ("ignore", "replace", "debounce", "merge")


def _enqueue(db: Db, on_duplicate: str, payload: object = None, **more: Any) -> UUID:
    names = "".join(f", p_{name} => %s" for name in more)
    found: UUID = value(
        db,
        f"select pgqueue.enqueue('t', %s, p_unique_key => 'k', p_on_duplicate => %s{names})",
        json.dumps(payload or {}),
        on_duplicate,
        *more.values(),
    )
    return found


def _payload(db: Db, job_id: UUID) -> Any:
    return value(db, "select payload from pgqueue.jobs where id = %s", job_id)


def test_enqueue_sets_every_column(db: Db) -> None:
    """The function says all that a plain INSERT can say."""
    job_id = value(
        db,
        """select pgqueue.enqueue('t', '{"a": 1}', 'q', 2, '2100-01-01', null, '2100-02-02',
            9, '5 s', 'i', 'u', 'acme', '{"h": 1}', 'ignore',
            '018f0000-0000-7000-8000-000000000001')""",
    )

    assert str(job_id) == "018f0000-0000-7000-8000-000000000001"
    assert row(
        db,
        """select job_type, payload, queue, priority, run_at = '2100-01-01',
            expires_at = '2100-02-02', max_attempts, timeout = '5 s', idempotency_key, unique_key,
            tenant_id, headers from pgqueue.jobs""",
    ) == ("t", {"a": 1}, "q", 2, True, True, 9, True, "i", "u", "acme", {"h": 1})


def test_a_delay_counts_from_now_and_yields_to_run_at(db: Db) -> None:
    """Both by enqueue and by enqueue_many."""
    db.execute("select pgqueue.enqueue('a', p_delay => '1 hour')")
    db.execute("select pgqueue.enqueue('b', p_delay => '1 hour', p_run_at => '2001-01-01')")
    db.execute("""select pgqueue.enqueue_many('[{"job_type": "c", "delay_seconds": 3600}]')""")

    assert column(db, "select job_type from pgqueue.ready") == ["b"]
    assert column(
        db,
        """select job_type from pgqueue.scheduled
           where due_at - clock_timestamp() between '59 min' and '60 min' order by 1""",
    ) == ["a", "c"]


@pytest.mark.parametrize("holder", ["queued", "scheduled", "retrying"])
def test_a_waiting_holder_serves_the_request(db: Db, holder: str) -> None:
    """Ignore keeps it, replace and merge change the payload, debounce the time as well."""
    job_id = insert(db, unique_key="k", payload={"n": [1]}, run_at=_run_at(holder))
    if holder == "retrying":
        job = claim_this(db, job_id)
        db.execute("select pgqueue.fail(%s, %s, p_retry_after => '1 day')", job.owned)
    ids, payloads, places = [], [], []
    for mode in _MODES:
        later = {"run_at": "2100-09-09"} if mode == "debounce" else {"run_at": "2100-05-05"}
        ids.append(_enqueue(db, mode, {"n": [mode]}, **later))
        payloads.append(_payload(db, job_id)["n"])
        places.append(status(db, job_id))
    moved = "retrying" if holder == "retrying" else "scheduled"

    assert ids == [job_id] * 4
    assert payloads == [[1], ["replace"], ["debounce"], ["debounce", "merge"]]
    assert places == [holder, holder, moved, moved]
    assert value(db, "select due_at = '2100-09-09' from pgqueue.scheduled") is True


def _run_at(holder: str) -> str | None:
    return "2100-01-01" if holder == "scheduled" else None


def test_a_debounce_without_a_time_means_now(db: Db) -> None:
    """The last request of a burst says when; NULL is at once."""
    job_id = insert(db, unique_key="k", run_at="2100-01-01")
    _enqueue(db, "debounce")

    assert status(db, job_id) == "queued"


def test_a_running_holder_gets_one_follow_up(db: Db) -> None:
    """Ignore is served by the holder; the others share one follow-up that the last one shapes."""
    holder = run_one(db, unique_key="k", payload={"n": 0})
    ignored = _enqueue(db, "ignore", {"n": 1})
    follow_up = _enqueue(db, "replace", {"n": [2]})
    ids = [_enqueue(db, mode, {"n": [mode]}) for mode in ("replace", "merge", "debounce", "merge")]

    assert ignored == holder.job_id
    assert follow_up != holder.job_id
    assert ids == [follow_up] * 4
    assert place(db, follow_up) == "blocked"
    assert _payload(db, follow_up) == {"n": ["debounce", "merge"]}
    assert _payload(db, holder.job_id) == {"n": 0}


@pytest.mark.parametrize("ending", ["complete", "fail", "cancel", "purge", "rescue"])
def test_a_follow_up_runs_when_its_holder_has_finished_however_that_ends(
    db: Db, ending: str
) -> None:
    """It then holds the key, and counts its own attempts."""
    holder = run_one(db, unique_key="k", max_attempts=1)
    follow_up = _enqueue(db, "replace", {"n": 1})
    match ending:
        case "complete":
            db.execute("select pgqueue.complete(%s, %s)", holder.owned)
        case "fail":
            db.execute("select pgqueue.fail(%s, %s)", holder.owned)
        case "cancel":
            db.execute("select pgqueue.cancel_running(%s, %s)", holder.owned)
        case "purge":
            db.execute("select pgqueue.snooze(%s, %s, '1 day')", holder.owned)
            db.execute("select pgqueue.cancel(%s)", (holder.job_id,))
        case _:
            db.execute("update pgqueue.running set deadline_at = '2001-01-01'")
            db.execute("select pgqueue.rescue()")
    (found,) = claim(db, worker(db))

    assert (found.job_id, found.attempt, found.payload) == (follow_up, 1, '{"n": 1}')
    assert column(db, "select id from pgqueue.jobs where unique_key = 'k'") == [follow_up]


def test_a_holder_that_retries_keeps_its_follow_up_waiting(db: Db) -> None:
    """Two unfinished jobs with one key never run at once; later requests go to the follow-up."""
    holder = run_one(db, unique_key="k")
    follow_up = _enqueue(db, "replace", {"n": 1})
    db.execute("select pgqueue.fail(%s, %s, p_retry_after => '0')", holder.owned)
    again = _enqueue(db, "replace", {"n": 2})
    found = claim(db, worker(db))

    assert again == follow_up
    assert [job.job_id for job in found] == [holder.job_id]
    assert place(db, follow_up) == "blocked"


def test_a_follow_up_keeps_its_own_time(db: Db) -> None:
    """Debounced into the future while the holder runs, it is scheduled when that finishes."""
    holder = run_one(db, unique_key="k")
    follow_up = _enqueue(db, "debounce", run_at="2100-01-01")
    db.execute("select pgqueue.complete(%s, %s)", holder.owned)

    assert status(db, follow_up) == "scheduled"
    assert value(db, "select due_at = '2100-01-01' from pgqueue.scheduled") is True


def test_a_cancelled_follow_up_makes_room_for_another(db: Db) -> None:
    """A request after that is served by a new one."""
    run_one(db, unique_key="k")
    first = _enqueue(db, "replace")
    db.execute("select pgqueue.cancel(%s)", (first,))
    second = _enqueue(db, "replace")

    assert (status(db, first), status(db, second)) == ("cancelled", "blocked")


def test_a_cancelled_follow_up_that_is_retried_still_wants_its_key(db: Db) -> None:
    """Not beside the holder; when that has finished, it holds the key itself."""
    holder = run_one(db, unique_key="k")
    follow_up = _enqueue(db, "replace")
    db.execute("select pgqueue.cancel(%s)", (follow_up,))
    with refused("PQ005"):
        db.execute("select pgqueue.retry(%s)", (follow_up,))
    db.execute("select pgqueue.complete(%s, %s)", holder.owned)
    db.execute("select pgqueue.retry(%s)", (follow_up,))

    assert column(db, "select id from pgqueue.jobs where unique_key = 'k'") == [follow_up]


@pytest.mark.parametrize("mode", _MODES)
def test_a_finished_holder_serves_nothing(db: Db, mode: str) -> None:
    """Its key is free: a new job is inserted."""
    for wanted in ("succeeded", "failed", "cancelled"):
        job = run_one(db, unique_key="k")
        match wanted:
            case "succeeded":
                db.execute("select pgqueue.complete(%s, %s)", job.owned)
            case "failed":
                db.execute("select pgqueue.fail(%s, %s, null, false)", job.owned)
            case _:
                db.execute("select pgqueue.cancel_running(%s, %s)", job.owned)
        new = _enqueue(db, mode)

        assert new != job.job_id
        assert status(db, new) == "queued"
        db.execute("select pgqueue.cancel(%s)", (new,))


@pytest.mark.parametrize("mode", _MODES)
def test_an_idempotency_key_is_one_job_in_every_status(db: Db, mode: str) -> None:
    """Finished or not: the same id, and nothing about it changes."""
    call = "select pgqueue.enqueue('t', %s, p_idempotency_key => %s, p_on_duplicate => %s)"
    for n, wanted in enumerate(s for s in STATUSES if s != "blocked"):
        job_id = value(db, call, '{"n": 1}', f"i{n}", "ignore")
        if wanted not in {"queued", "scheduled"}:
            job = claim_this(db, job_id)
            db.execute("select pgqueue.complete(%s, %s)", job.owned)
        before = status(db, job_id)

        assert value(db, call, '{"n": 2}', f"i{n}", mode) == job_id
        assert (status(db, job_id), _payload(db, job_id)) == (before, {"n": 1})


def test_a_client_id_that_is_there_is_the_same_job(db: Db) -> None:
    """Retrying an insert whose reply was lost; another tenant's id is refused."""
    job_id = insert(db, tenant_id="a")
    call = "select pgqueue.enqueue('t', p_id => %s, p_tenant_id => %s)"

    assert value(db, call, job_id, "a") == job_id
    with refused("23505", constraint="jobs_pkey"):
        db.execute(call, (job_id, "b"))


def test_keys_of_different_tenants_do_not_meet(db: Db) -> None:
    """Each has a holder of its own, which its own requests change."""
    ids = {t: _enqueue(db, "replace", {"t": t}, tenant_id=t) for t in (None, "a", "b")}
    again = {t: _enqueue(db, "replace", {"u": t}, tenant_id=t) for t in (None, "a", "b")}

    assert again == ids
    assert len(set(ids.values())) == 3
    assert [_payload(db, ids[t]) for t in (None, "a", "b")] == [{"u": None}, {"u": "a"}, {"u": "b"}]


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ({"a": [1], "b": 1}, {"a": [2], "b": 2}, {"a": [1, 2], "b": 2}),
        ({"a": [1]}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": [2]}, {"a": [2]}),
        ({"a": [1]}, {}, {"a": [1]}),
        ({}, {"a": [1]}, {"a": [1]}),
        ({"a": {"x": [1]}}, {"a": {"x": [2]}}, {"a": {"x": [2]}}),
        ({"a": [1]}, {"a": None}, {"a": None}),
    ],
)
def test_merging_appends_arrays_and_replaces_the_rest(
    db: Db, old: object, new: object, merged: object
) -> None:
    """At the first level; the newer request wins."""
    call = "select pgqueue.merge_payloads(%s, %s)"

    assert value(db, call, json.dumps(old), json.dumps(new)) == merged


def test_headers_are_kept_unless_the_request_has_its_own(db: Db) -> None:
    """A replace without headers does not wipe the trace context."""
    job_id = insert(db, unique_key="k", headers={"a": 1})
    seen = []
    for headers in (None, '{"b": 2}'):
        _enqueue(db, "replace", headers=headers)
        seen.append(value(db, "select headers from pgqueue.jobs where id = %s", job_id))

    assert seen == [{"a": 1}, {"b": 2}]


def _many(db: Db, jobs: list[Any], on_duplicate: str = "ignore") -> list[tuple[int, UUID, bool]]:
    return db.execute(
        "select * from pgqueue.enqueue_many(%s, %s)", (json.dumps(jobs), on_duplicate)
    ).fetchall()


def test_enqueue_many_answers_for_each_element_in_order(db: Db) -> None:
    """Plain jobs, keyed jobs, given ids and duplicates in one array."""
    there = insert(db, idempotency_key="i")
    found = _many(
        db,
        [
            {"job_type": "a"},
            {"job_type": "b", "unique_key": "u"},
            {"job_type": "c", "idempotency_key": "i"},
            {"job_type": "d", "id": "018f0000-0000-7000-8000-000000000001"},
            {"job_type": "e", "unique_key": "u"},
            {"job_type": "f"},
        ],
    )
    types = dict(db.execute("select id, job_type from pgqueue.jobs").fetchall())

    assert [n for n, _, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [new for _, _, new in found] == [True, True, False, True, False, True]
    assert [types[job_id] for _, job_id, _ in found] == ["a", "b", "t", "d", "b", "f"]
    assert found[2][1] == there


def test_duplicates_within_one_call_follow_the_mode(db: Db) -> None:
    """The later element changes the earlier one's job, in the order of the array."""
    jobs = [{"job_type": "t", "unique_key": "k", "payload": {"n": [n]}} for n in (1, 2, 3)]
    ids = {job_id for _, job_id, _ in _many(db, jobs, "merge")}
    (job_id,) = ids

    assert _payload(db, job_id) == {"n": [1, 2, 3]}


def test_enqueue_many_takes_every_column(db: Db) -> None:
    """Under the names of the columns, with timeout_seconds and delay_seconds as numbers."""
    job = {
        "job_type": "t",
        "queue": "q",
        "priority": 0,
        "payload": {"a": 1},
        "run_at": "2100-01-01T00:00:00Z",
        "expires_at": "2100-02-02T00:00:00Z",
        "max_attempts": 3,
        "timeout_seconds": 1.5,
        "tenant_id": "acme",
        "headers": {"h": 1},
    }
    _many(db, [job, {**job, "unique_key": "k"}, {"job_type": "t", "headers": None, "queue": None}])

    assert (
        db.execute(
            """select queue, priority, payload, run_at = '2100-01-01Z', expires_at = '2100-02-02Z',
            max_attempts, timeout = '1.5 s', tenant_id, headers
           from pgqueue.jobs where queue = 'q'"""
        ).fetchall()
        == [("q", 0, {"a": 1}, True, True, 3, True, "acme", {"h": 1})] * 2
    )
    assert row(db, "select priority, payload, headers from pgqueue.jobs where queue is null") == (
        1,
        {},
        None,
    )


@pytest.mark.parametrize(
    ("jobs", "sqlstate"),
    [
        ([{"job_type": "t", "kind": "x"}], "PQ006"),
        ([{"job_type": "t"}, 3], "PQ006"),
        ([None], "PQ006"),
        ({"job_type": "t"}, "PQ006"),
        (None, "PQ006"),
        ([{"job_type": "t"}, {}], "23502"),
        ([{"job_type": "t"}, {"job_type": "t", "priority": 9}], "23514"),
        ([{"job_type": "t"}, {"job_type": "t", "payload": [1]}], "23514"),
        ([{"job_type": "t"}, {"job_type": "t", "id": "x"}], "22P02"),
        ([{"job_type": "t"}, {"job_type": "t", "run_at": "soon"}], "22007"),
    ],
)
def test_an_array_with_one_bad_job_enqueues_none(db: Db, jobs: Any, sqlstate: str) -> None:
    """The message says which; the caller's transaction decides about the rest."""
    with refused(sqlstate):
        _many(db, jobs)

    assert value(db, "select count(*) from pgqueue.jobs") == 0


def test_an_empty_array_enqueues_nothing(db: Db) -> None:
    """And no error."""
    assert _many(db, []) == []


def test_an_unknown_way_with_duplicates_is_refused(db: Db) -> None:
    """PQ006, by both functions."""
    with refused("PQ006"):
        _enqueue(db, "upsert")
    with refused("PQ006"):
        _many(db, [{"job_type": "t"}], "upsert")


def test_plain_jobs_of_a_call_keep_their_order(db: Db) -> None:
    """1,000 of them, with one INSERT."""
    _many(db, [{"job_type": "t", "payload": {"n": n}} for n in range(1000)])
    found = [json.loads(job.payload)["n"] for job in claim(db, worker(db), 1000)]

    assert found == list(range(1000))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"payload": None},
        {"payload": {"a": 1}, "queue": "mail", "priority": 3},
        {"queue": None, "priority": None},
    ],
)
def test_jobs_of_which_little_is_said_are_the_same_either_way(
    db: Db, said: dict[str, object]
) -> None:
    """They go in by a shorter statement unless one job of the call says more."""
    job = {"job_type": "t", **said}
    for jobs in ([job], [job, {"job_type": "t", "headers": {"long": "way"}}]):
        db.execute("select from pgqueue.enqueue_many(%s)", (json.dumps(jobs),))
    stored = column(
        db,
        """select to_jsonb(j) - '{id,created_at}'::text[]
               || (select to_jsonb(r) - '{job_id,pos,ready_at}'::text[]
                   from pgqueue.ready r where r.job_id = j.id)
           from pgqueue.jobs j where j.headers is null""",
    )

    assert len(stored) == 2
    assert stored[0] == stored[1]


def test_every_status_can_be_made_by_the_helper(db: Db) -> None:
    """The tests of transitions start from these."""
    assert [status(db, job_in(db, wanted).job_id) for wanted in STATUSES] == list(STATUSES)
