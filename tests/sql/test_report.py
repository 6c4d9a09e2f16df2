"""report(): a batch of outcomes, where one bad apple spoils nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import (
    claim,
    column,
    insert,
    insert_many,
    refused,
    report,
    row,
    run_one,
    status,
    value,
    worker,
)

if TYPE_CHECKING:
    from tests.support.sqljobs import Claimed, Db


def _batch(db: Db, size: int) -> list[Claimed]:
    insert_many(db, size)
    return claim(db, worker(db), size)


def _code(db: Db, job: Claimed) -> str | None:
    found = db.execute(
        "select errors -> -1 ->> 'code' from pgqueue.finished where job_id = %s", (job.job_id,)
    ).fetchone()
    return None if found is None else found[0]


def test_a_batch_without_outcomes_succeeds(db: Db) -> None:
    """NULL for the whole batch, or for one job, is plain success."""
    batch = _batch(db, 4)

    assert report(db, batch[:2]) == {}
    assert report(db, batch[2:], [None, {}]) == {}
    assert column(db, "select status from pgqueue.finished") == ["succeeded"] * 4


def test_an_empty_batch_is_nothing(db: Db) -> None:
    """And no error."""
    assert report(db, []) == {}
    assert db.execute("select * from pgqueue.report(null, null, null)").fetchall() == []


def test_one_batch_may_hold_every_kind_of_outcome(db: Db) -> None:
    """Each job goes its own way, in one call."""
    batch = _batch(db, 9)
    refusals = report(
        db,
        batch,
        [
            None,
            {"result": {"n": 1}, "metrics": {"items": 2}},
            {"errors": [{"code": "row"}]},
            {"status": "partial"},
            {"do": "fail", "error": {"code": "x", "message": "y"}},
            {"do": "fail", "retryable": False},
            {"do": "snooze", "delay_seconds": 3600},
            {"do": "release"},
            {"do": "cancel", "reason": "enough"},
        ],
    )

    assert refusals == {}
    assert [status(db, job.job_id) for job in batch] == [
        "succeeded",
        "succeeded",
        "partial",
        "partial",
        "retrying",
        "failed",
        "scheduled",
        "queued",
        "cancelled",
    ]


def statuses(
    db: Db, batch: list[Claimed], outcomes: list[object | None]
) -> list[tuple[str | None, str | None]]:
    """What report() answers for each job of *batch*: refused and status; None = no row."""
    texts = [o if o is None else json.dumps(o) for o in outcomes]
    found = db.execute(
        "select token, refused, status from pgqueue.report(%s, %s, %s)",
        ([job.job_id for job in batch], [job.token for job in batch], texts),
    ).fetchall()
    answers = {token: (refusal, ended) for token, refusal, ended in found}
    assert len(answers) == len(found)
    return [answers.get(job.token, (None, None)) for job in batch]


def test_every_outcome_but_a_plain_completion_is_answered_with_its_status(db: Db) -> None:
    """The worker logs what happened, not what it expects; a repeated batch hears the same."""
    batch = _batch(db, 9)
    outcomes: list[object | None] = [
        None,
        {"result": 1},
        {"errors": [{"code": "row"}], "created": [["A", "1"]]},
        {"follow_ups": [{"job_type": "next"}]},
        {"do": "fail"},
        {"do": "fail", "retryable": False},
        {"do": "snooze", "delay_seconds": 3600},
        {"do": "release"},
        {"do": "cancel"},
    ]
    answers = [statuses(db, batch, outcomes) for _ in range(2)]
    expected = [
        *(None, None, "partial", "succeeded"),
        *("retrying", "failed", "snoozed", "released", "cancelled"),
    ]

    assert answers == [[(None, ended) for ended in expected]] * 2


def test_the_status_is_that_of_the_job_not_that_of_the_outcome(db: Db) -> None:
    """A requested cancellation, the last attempt and an outcome that is refused decide it."""
    insert_many(db, 5)
    insert(db, max_attempts=1)
    batch = claim(db, worker(db))
    db.execute(
        "select pgqueue.cancel(job_id) from pgqueue.running where job_id <> all (%s)",
        ([job.job_id for job in batch[3:]],),
    )
    outcomes: list[object | None] = [
        {"do": "fail"},
        {"do": "snooze"},
        {"do": "release"},
        {"result": "\0"},
        {"do": "explode"},
        {"do": "fail"},
    ]
    answers = statuses(db, batch, outcomes)

    assert answers == [(None, ended) for ended in ["cancelled"] * 3 + ["failed"] * 3]
    assert [status(db, job.job_id) for job in batch] == [ended for _, ended in answers]


def test_repeating_a_batch_is_harmless(db: Db) -> None:
    """The reply was lost: everything is accepted again, nothing happens twice."""
    batch = _batch(db, 6)
    outcomes: list[object] = [
        None,
        {"created": [["A", "1"]], "follow_ups": [{"job_type": "next"}]},
        {"do": "fail"},
        {"do": "fail", "retryable": False},
        {"do": "snooze", "delay_seconds": 3600},
        {"do": "cancel"},
    ]

    assert [report(db, batch, outcomes) for _ in range(3)] == [{}, {}, {}]
    assert value(db, "select count(*) from pgqueue.jobs where job_type = 'next'") == 1
    assert value(db, "select count(*) from pgqueue.attempts") == 2
    assert value(db, "select sum(jobs) from pgqueue.stats_log") == 6


@pytest.mark.parametrize("outcome", [{"do": "snooze"}, {"do": "release"}, {"do": "fail"}])
def test_repeating_is_harmless_when_a_cancel_came_first(db: Db, outcome: object) -> None:
    """The first report ended the job as cancelled; the second hears no lease_lost."""
    job = run_one(db)
    db.execute("select pgqueue.cancel(%s)", (job.job_id,))

    assert [report(db, [job], [outcome]) for _ in range(2)] == [{}, {}]
    assert status(db, job.job_id) == "cancelled"


@pytest.mark.parametrize("do", ["complete", "fail", "snooze", "cancel"])
def test_a_stale_token_is_refused_without_undoing_its_batch_mates(db: Db, do: str) -> None:
    """lease_lost for that row; the others are stored."""
    batch = _batch(db, 3)
    db.execute("select pgqueue.release(%s, %s)", batch[1].owned)
    (again,) = claim(db, worker(db))
    found = report(db, batch, [None, {"do": do}, {"do": "cancel"}])

    assert found == {batch[1].job_id: "lease_lost"}
    assert [status(db, job.job_id) for job in batch] == ["succeeded", "running", "cancelled"]
    assert again.attempt == 1
    assert report(db, [again]) == {}


def test_two_attempts_of_one_job_in_a_batch_are_told_apart(db: Db) -> None:
    """A worker lost the job, claimed it again, and reports both: only the newer counts."""
    insert_many(db, 1)
    by = worker(db)
    (old,) = claim(db, by)
    db.execute("update pgqueue.running set deadline_at = '2001-01-01'")
    db.execute("select pgqueue.rescue()")
    (new,) = claim(db, by)
    found = db.execute(
        "select token, refused from pgqueue.report(%s, %s, %s) where refused is not null",
        (
            [new.job_id, old.job_id],
            [new.token, old.token],
            ['{"result": "new", "created": [["A", "new"]]}', '{"created": [["A", "old"]]}'],
        ),
    ).fetchall()

    assert found == [(old.token, "lease_lost")]
    assert value(db, "select result from pgqueue.finished") == "new"
    assert column(db, "select entity_id from pgqueue.job_results") == ["new"]


# What is wrong -> the outcome's text. All of them must fail their job alone, for good.
_BAD: dict[str, str] = {
    "no json": "{",
    "empty": "",
    "nul": r'{"result": "\u0000"}',
    "nan": '{"result": NaN}',
    "lone surrogate": r'{"result": "\ud800"}',
    "too deep": '{"result": ' + "[" * 20_000 + "]" * 20_000 + "}",
    "array": "[]",
    "number": "3",
    "errors": '{"errors": {"code": "x"}}',
    "metrics": '{"metrics": [1]}',
    "created": '{"created": "x"}',
    "created of numbers": '{"created": [1]}',
    "created without an id": '{"created": [["A"]]}',
    "created with nulls": '{"created": [[null, null]]}',
    "created too long": '{"created": [["A", "' + "x" * 256 + '"]]}',
    "follow_ups": '{"follow_ups": {"job_type": "t"}}',
    "follow-up without a type": '{"follow_ups": [{}]}',
    "follow-up of a number": '{"follow_ups": [1]}',
    "follow-up with an unknown key": '{"follow_ups": [{"job_type": "t", "x": 1}]}',
    "follow-up of a disabled type": '{"follow_ups": [{"job_type": "off"}]}',
    "follow-up with a bad time": '{"follow_ups": [{"job_type": "t", "run_at": "soon"}]}',
    "status": '{"status": "failed"}',
    "long url": '{"result_url": "' + "x" * 2001 + '"}',
    "unknown do": '{"do": "explode"}',
    "do of a number": '{"do": 1}',
    "nan retry": '{"do": "fail", "retry_after_seconds": "NaN"}',
    "word retry": '{"do": "fail", "retry_after_seconds": "soon"}',
    "huge retry": '{"do": "fail", "retry_after_seconds": 1e20}',
    "retryable": '{"do": "fail", "retryable": "maybe"}',
    "negative snooze": '{"do": "snooze", "delay_seconds": -5}',
    "nan snooze": '{"do": "snooze", "delay_seconds": "NaN"}',
    "long snooze": '{"do": "snooze", "delay_seconds": 1e10}',
}


def test_an_outcome_that_cannot_be_stored_fails_its_job_alone(db: Db) -> None:
    """Every kind of nonsense in one batch; the good jobs between them succeed."""
    db.execute("select pgqueue.set_job_type('off', p_enabled => false)")
    batch = _batch(db, 2 * len(_BAD))
    bad, good = batch[::2], batch[1::2]
    outcomes: list[Any] = []
    for text in _BAD.values():
        outcomes += [text, {"result": "good"}]
    refusals = report(db, batch, outcomes)
    found = {
        name: (status(db, job.job_id), _code(db, job)) for name, job in zip(_BAD, bad, strict=True)
    }
    codes = {"result_refused", "outcome_refused", "outcome_unknown"}

    assert refusals == {}
    assert {name: got for name, got in found.items() if got[0] != "failed"} == {}
    assert {name: got for name, got in found.items() if got[1] not in codes} == {}
    assert [status(db, job.job_id) for job in good] == ["succeeded"] * len(good)
    assert value(db, "select count(*) from pgqueue.job_results") == 0
    assert value(db, "select count(*) from pgqueue.jobs") == len(batch)


def test_a_negative_retry_time_means_now(db: Db) -> None:
    """A server's clock ahead of ours may say so in good faith."""
    job = run_one(db)
    report(db, [job], [{"do": "fail", "retry_after_seconds": -5}])

    assert status(db, job.job_id) == "queued"


def test_a_result_of_17_megabytes_fails_its_job(db: Db) -> None:
    """And its batch-mate succeeds."""
    batch = _batch(db, 2)
    huge = '{"result": "' + "x" * 17_000_000 + '"}'

    assert report(db, batch, [huge, {"result": 1}]) == {}
    assert [status(db, job.job_id) for job in batch] == ["failed", "succeeded"]
    assert "16 MiB" in value(
        db, "select errors -> 0 ->> 'message' from pgqueue.finished where status = 'failed'"
    )


def test_json_null_is_nothing(db: Db) -> None:
    """A client that serialises all its fields sends null for those it does not use."""
    job = run_one(db)
    keys = ["do", "result", "result_url", "metrics", "errors", "created", "status", "follow_ups"]
    report(db, [job], [dict.fromkeys(keys)])

    assert row(db, "select status, result, result_url, metrics, errors from pgqueue.finished") == (
        "succeeded",
        None,
        None,
        None,
        None,
    )


def test_created_and_follow_ups_come_with_the_batch(db: Db) -> None:
    """Stored for the jobs that are completed, not for those that are refused."""
    batch = _batch(db, 2)
    db.execute("select pgqueue.release(%s, %s)", batch[1].owned)
    outcome = {"created": [["A", "1"]], "follow_ups": [{"job_type": "next"}]}
    found = report(db, batch, [outcome, outcome])

    assert found == {batch[1].job_id: "lease_lost"}
    assert column(db, "select job_id from pgqueue.job_results") == [batch[0].job_id]
    assert value(db, "select count(*) from pgqueue.jobs where job_type = 'next'") == 1


def test_arrays_of_different_lengths_are_refused(db: Db) -> None:
    """PQ006: a token must belong to a job."""
    job = run_one(db)
    for arguments in (
        ([job.job_id], [job.token, 1], None),
        ([job.job_id], [], None),
        ([job.job_id], [job.token], ["{}", "{}"]),
    ):
        with refused("PQ006"):
            db.execute("select * from pgqueue.report(%s, %s::bigint[], %s)", arguments)

    assert status(db, job.job_id) == "running"


def test_a_batch_gives_its_unique_keys_back(db: Db) -> None:
    """Keyed and plain jobs in one call."""
    for key in ("a", None, "b"):
        insert(db, unique_key=key)
    report(db, claim(db, worker(db)))

    assert column(db, "select unique_key from pgqueue.finished order by 1") == ["a", "b", None]
    assert value(db, "select count(unique_key) from pgqueue.jobs") == 0


def test_statistics_count_each_job_of_a_batch_once(db: Db) -> None:
    """One appended row per bucket, whose sum is the batch."""
    report(db, _batch(db, 50))

    assert row(db, "select sum(jobs), count(*) < 20 from pgqueue.stats_log") == (50, True)
