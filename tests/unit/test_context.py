from __future__ import annotations

import datetime as dt
import json
import logging
import math
from typing import Any
from uuid import UUID

import pytest

from pgqueue import Cancel, ConfigurationError, InvalidArgument, JobContext, Retry
from pgqueue.context import ERRORS_MAX, JobInfo, Progress
from pgqueue.follow_up import new_job_id

JOB = JobInfo(
    id=UUID(int=1),
    job_type="create_orders",
    token=42,
    attempt=2,
    max_attempts=5,
    payload={"a": 1},
    headers={"traceparent": "00-1-2-01", "secret": "x"},
    tenant="acme",
    worker="w1",
)
SOON = dt.datetime(2030, 1, 2, tzinfo=dt.UTC)


class Recorder:
    """Hooks that remember their calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def report_progress(self, percent: float, message: str | None) -> None:
        """Remember it."""
        self.calls.append(("progress", percent, message))

    def extend(self, seconds: float) -> None:
        """Remember it."""
        self.calls.append(("extend", seconds))


def test_a_context_shows_its_job() -> None:
    """Everything that claim returned is there."""
    ctx = JobContext(JOB)
    shown = {name: getattr(ctx, name) for name in JobInfo.__dataclass_fields__}

    assert shown == {name: getattr(JOB, name) for name in JobInfo.__dataclass_fields__}


def test_a_run_that_says_nothing_reports_nothing() -> None:
    """Plain success costs no JSON."""
    assert JobContext(JOB).outcome() is None


def test_the_outcome_holds_what_the_run_said() -> None:
    """As pgqueue.report() takes it, ready for json."""
    ctx = JobContext(JOB)
    ctx.metrics.processed(3)
    ctx.created("Order", UUID(int=2))
    ctx.created("Order", UUID(int=2))
    ctx.created("Order", 7)
    ctx.error("bad price", code="price", item=3, retryable=True)
    ctx.result_url = "https://files.example/1"
    job_id = ctx.enqueue("notify", {"at": SOON.date()}, priority=2)

    outcome = ctx.outcome({"n": UUID(int=3)})

    assert json.loads(json.dumps(outcome)) == {
        "result": {"n": "00000000-0000-0000-0000-000000000003"},
        "result_url": "https://files.example/1",
        "errors": [{"code": "price", "message": "bad price", "item": 3, "retryable": True}],
        "metrics": {"items_processed": 3},
        "created": [["Order", "00000000-0000-0000-0000-000000000002"], ["Order", "7"]],
        "follow_ups": [
            {
                "id": str(job_id),
                "job_type": "notify",
                "payload": {"at": "2030-01-02"},
                "priority": 2,
                "tenant_id": "acme",
                "headers": {"traceparent": "00-1-2-01"},
            }
        ],
    }


def test_an_empty_result_is_a_result() -> None:
    """[] and 0 and False are stored; only None is nothing."""
    results: list[object] = [[], 0, False]

    assert [JobContext(JOB).outcome(value) for value in results] == [
        {"result": []},
        {"result": 0},
        {"result": False},
    ]


def test_a_failure_drops_what_belongs_to_a_completion() -> None:
    """Follow-ups and created entities of a run that failed never happened."""
    ctx = JobContext(JOB)
    ctx.enqueue("notify")
    ctx.created("Order", 1)
    ctx.metrics.processed()
    ctx.error("row 7")

    report = ctx.failure(ValueError("oops"))

    assert report.keys() == {"do", "error", "errors", "metrics"}
    assert ctx.failure(Retry(5))["retry_after_seconds"] == 5
    assert ctx.failure(Cancel("off")) == {"do": "cancel", "reason": "off"}


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50.0), (-3, 0.0), (250, 100.0), (math.inf, 100.0)]
)
def test_progress_is_kept_within_its_range(percent: float, expected: float) -> None:
    """The last report is remembered and handed to the hooks."""
    hooks = Recorder()
    ctx = JobContext(JOB, hooks=hooks)
    ctx.progress(percent, "half\0way")

    assert ctx.last_progress == Progress(expected, "half\N{REPLACEMENT CHARACTER}way")
    assert hooks.calls == [("progress", expected, "half\N{REPLACEMENT CHARACTER}way")]


@pytest.mark.parametrize("percent", [math.nan, "50", None, True])
def test_progress_that_is_no_number_is_refused(percent: Any) -> None:
    """A handler's slip shows in its first test."""
    with pytest.raises(InvalidArgument, match="percent"):
        JobContext(JOB).progress(percent)


def test_a_handler_without_a_transaction_is_told_how_to_get_one() -> None:
    """The hint is the line to write."""
    with pytest.raises(ConfigurationError, match="transactional=True"):
        _ = JobContext(JOB).connection

    connection = object()
    assert JobContext(JOB, connection=connection).connection is connection


def test_cancelling_reaches_the_handler() -> None:
    """The flag turns, and check_cancelled raises with the reason."""
    ctx = JobContext(JOB)
    ctx.check_cancelled()
    ctx.request_cancel("shutdown")

    assert ctx.cancelled
    with pytest.raises(Cancel, match="shutdown"):
        ctx.check_cancelled()


def test_extending_moves_the_deadline() -> None:
    """From now on, whatever the limit was; the hooks hear of it."""
    hooks = Recorder()
    ctx = JobContext(JOB, hooks=hooks)
    before = dt.datetime.now(dt.UTC)
    ctx.extend(dt.timedelta(minutes=1))

    assert hooks.calls == [("extend", 60.0)]
    assert ctx.deadline is not None
    assert ctx.deadline >= before + dt.timedelta(seconds=60)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, 31 * 86_400, "5"])
def test_a_senseless_extension_is_refused(seconds: Any) -> None:
    """pgqueue.extend() takes up to 30 days."""
    with pytest.raises(InvalidArgument):
        JobContext(JOB).extend(seconds)


@pytest.mark.parametrize(
    ("entity_type", "entity_id"),
    [("", 1), ("x" * 101, 1), ("Order", ""), ("Order", "x" * 256), ("Or\0der", 1), (7, 1)],
)
def test_what_was_created_must_fit_its_table(entity_type: Any, entity_id: Any) -> None:
    """The limits of pgqueue.job_results, checked where the handler says it."""
    with pytest.raises(InvalidArgument):
        JobContext(JOB).created(entity_type, entity_id)


def test_errors_are_bounded_and_the_rest_is_counted() -> None:
    """A million bad rows do not make a million errors."""
    ctx = JobContext(JOB)
    for row in range(ERRORS_MAX + 5):
        ctx.error("bad", item=row)
    outcome = ctx.outcome()

    assert outcome is not None
    assert len(outcome["errors"]) == ERRORS_MAX + 1
    assert outcome["errors"][-1]["message"] == "5 more errors are not kept"


def test_a_follow_up_carries_its_options() -> None:
    """Under the names of pgqueue.enqueue_many()."""
    ctx = JobContext(JobInfo(id=UUID(int=1), job_type="a", token=1))
    ctx.enqueue(
        "b",
        {"n": 1},
        job_id=UUID(int=9),
        queue="slow",
        delay=dt.timedelta(minutes=1),
        expires_at=SOON,
        max_attempts=3,
        timeout=30,
        idempotency_key="i",
        unique_key="u",
        headers={"x": 1},
    )

    assert ctx.follow_ups == [
        {
            "id": str(UUID(int=9)),
            "job_type": "b",
            "payload": {"n": 1},
            "queue": "slow",
            "delay_seconds": 60.0,
            "expires_at": SOON.isoformat(),
            "max_attempts": 3,
            "timeout_seconds": 30,
            "idempotency_key": "i",
            "unique_key": "u",
            "headers": {"x": 1},
        }
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"run_at": dt.datetime(2030, 1, 2)},  # noqa: DTZ001 - the point
        {"run_at": SOON, "delay": 5},
        {"delay": -1},
        {"timeout": 0},
        {"prio": 1},
        {"payload": {"f": open}},
        {"payload": [1]},
    ],
)
def test_a_senseless_follow_up_is_refused(options: dict[str, Any]) -> None:
    """At the call, with nothing buffered."""
    ctx = JobContext(JOB)
    with pytest.raises(InvalidArgument):
        ctx.enqueue("b", **options)

    assert ctx.follow_ups == []


def test_job_ids_are_version_7_and_ascend() -> None:
    """Ids of different milliseconds sort by time, so the primary key grows at one end."""
    ids = [new_job_id() for _ in range(100)]

    assert {(job_id.version, job_id.variant) for job_id in ids} == {
        (7, "specified in RFC 4122"),
    }
    assert len(set(ids)) == 100
    assert [i.int >> 80 for i in ids] == sorted(i.int >> 80 for i in ids)


def test_the_logger_carries_the_ids(caplog: pytest.LogCaptureFixture) -> None:
    """Every line that a handler logs can be found by job."""
    caplog.set_level(logging.INFO)
    JobContext(JOB).logger.info("read %d rows", 3)

    (message,) = caplog.messages
    assert message == (
        "read 3 rows job_id=00000000-0000-0000-0000-000000000001 job_type=create_orders"
        " attempt=2 token=42"
    )
