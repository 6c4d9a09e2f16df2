"""Specs of keys: who gets one, who replaces what, and what becomes of a follow-up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.races.stepper import END, Run, Spec
from tests.support.sqljobs import claim_this, column, insert, status, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_CLAIM = "select job_id, token, payload from pgqueue.claim(:by, '{default}', 1)"
_COMPLETE = "select pgqueue.complete(:worker_job_id, :worker_token)"


def _enqueue(payload: str, mode: str = "replace", key: str = "p_unique_key") -> str:
    return (
        f"begin; select pgqueue.enqueue('t', '{payload}', {key} => 'k',"
        f" p_on_duplicate => '{mode}') as id"
    )


def _insert(payload: str, key: str) -> str:
    return (
        f"begin; insert into pgqueue.jobs (job_type, payload, {key}) values ('t', '{payload}', 'k')"
        " on conflict do nothing returning id"
    )


def _nothing(db: Db) -> dict[str, Any]:
    return {}


def _holder_ready(db: Db) -> dict[str, Any]:
    return {"job": insert(db, unique_key="k", payload={"v": 1}), "by": worker(db)}


def _holder_running(db: Db) -> dict[str, Any]:
    job = claim_this(db, insert(db, unique_key="k", payload={"v": 1}))
    return {"job": job.job_id, "token": job.token}


def _later(run: Run, one: str, other: str) -> bool:
    """Whether *one* committed after *other*."""
    events = [event for event in run.events if event[1:] == (1, "ends")]
    return events.index((one, 1, "ends")) > events.index((other, 1, "ends"))


def _served(run: Run) -> set[str]:
    """The jobs that the committed requests were told about."""
    return {
        str(row["id"])
        for name in run.steps
        if run.committed(name)
        for row in run.answer(name).rows
        if row.get("id")
    }


def _same_unique_key(run: Run) -> None:
    jobs = dict(run.db.execute("select id::text, payload ->> 'v' from pgqueue.jobs").fetchall())
    replacing = [name for name in ("a", "b") if run.committed(name)]
    if len(replacing) == 2:
        replacing = ["a" if _later(run, "a", "b") else "b"]
    expected = replacing or (["c"] if _served(run) else [])
    assert _served(run) == set(jobs), "told about another job than the one that is there"
    assert list(jobs.values()) == expected, "the last request is not the one that is kept"


def _same_idempotency_key(run: Run) -> None:
    jobs = set(column(run.db, "select id::text from pgqueue.jobs"))
    assert len(jobs) <= 1
    assert _served(run) == jobs


def _replace_claim(run: Run) -> None:
    replaced, merged = run.committed("producer"), run.committed("other")
    claimed = run.steps["worker"][-1].sql != "rollback"
    seen = [json.loads(row["payload"] or "") for row in run.answer("worker").rows if claimed]
    left = column(
        run.db,
        """select payload from pgqueue.jobs j
           where not exists (select from pgqueue.running r where r.job_id = j.id)
               and not exists (select from pgqueue.finished f where f.job_id = j.id)""",
    )
    payloads = [*seen, *left]
    dropped = merged and _later(run, "producer", "other")  # replaced after the merge
    if replaced:
        assert any(found.get("v") == 2 for found in payloads), "the replace is dropped"
    if merged and not (replaced and dropped):
        assert any(found.get("w") == 3 for found in payloads), "the merge is dropped"


def _follow_up_finish(run: Run) -> None:
    told = _served(run)
    assert len(told) <= 1, "two follow-ups"
    for job in told:
        waits = "queued" if run.committed("worker") else "blocked"
        assert status(run.db, job) == waits  # type: ignore[arg-type]
        payload = value(run.db, "select payload from pgqueue.jobs where id = %s", job)
        both = run.committed("replacer") and run.committed("merger")
        if both and _later(run, "merger", "replacer"):
            assert payload == {"v": 2, "w": 3}
        elif run.committed("replacer"):
            assert payload == {"v": 2}
        else:
            assert payload == {"w": 3}


SPECS = [
    Spec(
        name="enqueue / enqueue / insert, same unique key",
        setup=_nothing,
        sessions={
            "a": [_enqueue('{"v": "a"}'), END],
            "b": [_enqueue('{"v": "b"}'), END],
            "c": [_insert('{"v": "c"}', "unique_key"), END],
        },
        check=_same_unique_key,
        at_least=200,
    ),
    Spec(
        name="enqueue / enqueue / insert, same idempotency key",
        setup=_nothing,
        sessions={
            "a": [_enqueue('{"v": "a"}', "ignore", "p_idempotency_key"), END],
            "b": [_enqueue('{"v": "b"}', "replace", "p_idempotency_key"), END],
            "c": [_insert('{"v": "c"}', "idempotency_key"), END],
        },
        check=_same_idempotency_key,
        at_least=200,
    ),
    Spec(
        name="replace / merge / claim / complete",
        setup=_holder_ready,
        sessions={
            "producer": [_enqueue('{"v": 2}'), END],
            "other": [_enqueue('{"w": 3}', "merge"), END],
            "worker": [_CLAIM, _COMPLETE],
        },
        check=_replace_claim,
        allowed=frozenset({"PQ001"}),
        at_least=200,
    ),
    # Claiming and completing in one transaction takes ready before jobs, against the lock order: it
    # can deadlock with a replace. Workers commit their claims. Even so nothing is lost.
    Spec(
        name="replace / claim and complete in one transaction",
        setup=_holder_ready,
        sessions={
            "producer": [_enqueue('{"v": 2}'), END],
            "worker": [f"begin; {_CLAIM}", _COMPLETE, END],
        },
        check=_replace_claim,
        allowed=frozenset({"40P01", "PQ001"}),
        at_least=30,
    ),
    Spec(
        name="follow-up / finish of its holder",
        setup=_holder_running,
        sessions={
            "replacer": [_enqueue('{"v": 2}'), END],
            "merger": [_enqueue('{"w": 3}', "merge"), END],
            "worker": ["begin; select pgqueue.complete(:job, :token)", END],
        },
        check=_follow_up_finish,
        at_least=200,
    ),
]
