from __future__ import annotations

import datetime as dt
import json
import logging
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from psycopg import errors as pg

from pgqueue import (
    Cancel,
    Fail,
    InvalidArgument,
    JobError,
    JobResult,
    Metrics,
    PayloadMismatch,
    PgqueueError,
    ResultNotSerializable,
    Retry,
    Snooze,
)
from pgqueue.outcomes import Outcome, outcome_of

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (None, None),
        (0, 0.0),
        (1.5, 1.5),
        (dt.timedelta(minutes=2), 120.0),
        (NOW + dt.timedelta(seconds=30), 30.0),
        (NOW - dt.timedelta(seconds=30), 0.0),
    ],
)
def test_a_retry_waits_as_long_as_it_says(after: Any, expected: float | None) -> None:
    """Seconds, a span or a moment; a moment that has passed means now."""
    assert Retry(after).delay_seconds(NOW) == expected


@pytest.mark.parametrize(
    "delay",
    [-1, math.nan, math.inf, 1e12, True, "5", dt.timedelta(days=-1), dt.datetime(2026, 1, 2)],  # noqa: DTZ001
)
def test_a_senseless_delay_is_refused(delay: Any) -> None:
    """Where the handler says it, not later in the worker."""
    with pytest.raises(InvalidArgument):
        Snooze(delay)
    with pytest.raises(InvalidArgument):
        Retry(delay)


@pytest.mark.parametrize(
    "outcome",
    [
        Retry(5, reason="busy"),
        Retry(),
        Snooze(NOW),
        Cancel("no longer wanted"),
        Fail("bad", code="x", item=3, details={"a": 1}),
    ],
)
def test_an_outcome_survives_the_way_from_a_child_process(outcome: Outcome) -> None:
    """Everything that was said comes back from pickle."""
    back = pickle.loads(pickle.dumps(outcome))  # noqa: S301 - our own bytes

    assert (type(back), back.args, vars(back)) == (type(outcome), outcome.args, vars(outcome))


def test_catching_errors_of_pgqueue_does_not_catch_outcomes() -> None:
    """A handler's `except PgqueueError` lets a Retry pass."""
    assert not issubclass(Outcome, PgqueueError)


def test_each_way_to_end_has_its_report() -> None:
    """As pgqueue.report() takes it; only what can help is retried."""
    reports = [
        outcome_of(exc)
        for exc in (
            Retry(5, reason="busy"),
            Retry(),
            Snooze(60),
            Cancel("off"),
            Fail("bad row", code="bad", item=3, details={"line": 7}),
            ValueError("oops"),
            PayloadMismatch("no"),
            ResultNotSerializable("no"),
        )
    ]
    for report in reports:
        error = report.get("error")
        if error:
            report["error"] = {key: value for key, value in error.items() if value}

    assert reports == [
        {
            "do": "fail",
            "error": {"code": "retry_requested", "message": "busy", "retryable": True},
            "retry_after_seconds": 5.0,
        },
        {
            "do": "fail",
            "error": {
                "code": "retry_requested",
                "message": "retry requested by the handler",
                "retryable": True,
            },
        },
        {"do": "snooze", "delay_seconds": 60.0},
        {"do": "cancel", "reason": "off"},
        {
            "do": "fail",
            "retryable": False,
            "error": {"code": "bad", "message": "bad row", "item": 3, "details": {"line": 7}},
        },
        {"do": "fail", "error": {"code": "ValueError", "message": "oops", "retryable": True}},
        {
            "do": "fail",
            "retryable": False,
            "error": {"code": "payload_mismatch", "message": "no"},
        },
        {
            "do": "fail",
            "retryable": False,
            "error": {"code": "result_not_serializable", "message": "no"},
        },
    ]


def test_an_error_message_can_always_be_stored() -> None:
    """NUL and lone surrogates are replaced, length is bounded, a broken __str__ does no harm."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    error = JobError.from_exception(ValueError("a\0b\ud800" + "x" * 10_000))

    assert error.message.startswith("a\N{REPLACEMENT CHARACTER}b?")
    assert len(error.message) == 4_000
    assert JobError.from_exception(Broken()).message == "Broken"


def test_the_rows_in_a_database_error_stay_out_of_the_message() -> None:
    """DETAIL, which str() includes, quotes the failing row; the primary message does not."""

    class Violation(pg.UniqueViolation):
        @property
        def diag(self) -> Any:
            class Diag:
                message_primary = "duplicate key"

            return Diag

    error = JobError.from_exception(Violation("duplicate key\nDETAIL: (iban)=(DE12) exists"))

    assert (error.code, error.message) == ("Violation", "duplicate key")


def test_an_item_must_be_json() -> None:
    """UUIDs and dates are converted, a function is refused."""
    assert JobError("x", item={"id": UUID(int=1)}).item == {
        "id": "00000000-0000-0000-0000-000000000001"
    }
    with pytest.raises(InvalidArgument, match="item"):
        JobError("x", item=open)


def test_metrics_count_from_many_threads() -> None:
    """No increment is lost."""
    metrics = Metrics()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(2_000):
            pool.submit(metrics.processed)
            pool.submit(metrics.add, "rows", 2)

    assert metrics.to_dict() == {"items_processed": 2_000, "custom": {"rows": 4_000}}


def test_metrics_that_count_nothing_store_nothing() -> None:
    """Most jobs count nothing, and must not pay for it."""
    assert Metrics().to_dict() == {}


def result(status: str = "succeeded", error: JobError | None = None) -> JobResult:
    """Build one run's result."""
    return JobResult(
        job_id=UUID(int=1),
        name="create_orders",
        status=status,
        attempt=2,
        started=NOW,
        completed=NOW + dt.timedelta(milliseconds=5432),
        duration_ms=5432,
        metrics=Metrics(items_processed=100, items_created=50, items_updated=50),
        error=error,
        result={"id": UUID(int=2)},
    )


def test_every_run_logs_the_same_line(caplog: pytest.LogCaptureFixture) -> None:
    """Event, ids, counts, duration; the numbers travel as fields for JSON."""
    caplog.set_level(logging.INFO)
    result().log(logging.getLogger("pgqueue.test"), token=9)

    (record,) = caplog.records
    assert record.getMessage() == (
        "job succeeded job_id=00000000-0000-0000-0000-000000000001 job_type=create_orders"
        " attempt=2 token=9 100 processed, 50 created, 50 updated, 0 skipped in 5432 ms"
    )
    fields = vars(record)["pgqueue_fields"]
    assert (fields["items_processed"], fields["duration_ms"]) == (100, 5432)
    assert "result" not in fields


def test_a_failed_run_logs_its_error(caplog: pytest.LogCaptureFixture) -> None:
    """At level ERROR, with the error's code and message."""
    caplog.set_level(logging.INFO)
    result("failed", JobError("no such file", code="missing")).log(logging.getLogger("pgqueue.x"))

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert 'error_code=missing error="no such file"' in record.getMessage()


@pytest.mark.parametrize(
    ("status", "success"),
    [("succeeded", True), ("partial", True), ("failed", False), ("retrying", False)],
)
def test_a_run_succeeded_when_its_handler_returned(status: str, success: bool) -> None:  # noqa: FBT001
    """Partial counts: the job is finished."""
    assert result(status).success is success


def test_a_result_is_json() -> None:
    """to_dict() needs no further conversion."""
    row = json.loads(json.dumps(result().to_dict()))

    assert row["result"] == {"id": "00000000-0000-0000-0000-000000000002"}
    assert row["metrics"] == {"items_processed": 100, "items_created": 50, "items_updated": 50}
