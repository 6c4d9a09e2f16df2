"""run_job: handlers run inline, and all that they say can be looked at."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from pgqueue import (
    Cancel,
    ConfigurationError,
    Fail,
    InvalidArgument,
    JobContext,
    PayloadMismatch,
    Registry,
    Retry,
    Snooze,
)
from pgqueue.context import Progress
from pgqueue.testing import run_job, run_job_async
from workers.demo import price_statistics, send_reminder

jobs = Registry("tests")


class FakeConnection:
    """Notes how its transaction ended."""

    def __init__(self) -> None:
        self.ended: str | None = None

    def transaction(self) -> FakeConnection:
        """As psycopg's."""
        return self

    def __enter__(self) -> None:
        self.ended = None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.ended = "committed" if kind is None else "rolled back"


@jobs.job
def tell_all(ctx: JobContext, day: dt.date) -> dict[str, Any]:
    """Use everything that a context offers."""
    ctx.progress(10, "begun")
    ctx.error("row 3 is bad", code="bad_row", item=3)
    ctx.metrics.processed(5)
    ctx.created("Order", 17)
    ctx.extend(60)
    ctx.progress(100)
    ctx.enqueue("next", {"day": day})
    return {"day": day}


@jobs.job
async def say(how: str) -> None:
    """End in one of the ways to end."""
    match how:
        case "retry":
            raise Retry(after=5, reason="busy")
        case "snooze":
            raise Snooze(5)
        case "cancel":
            raise Cancel("no longer wanted")
        case "fail":
            raise Fail("hopeless", code="hopeless")
        case _:
            raise ValueError(how)


@jobs.job(timeout=60)
def until(ctx: JobContext) -> float:
    """Tell how long there is."""
    assert ctx.deadline is not None
    return (ctx.deadline - dt.datetime.now(dt.UTC)).total_seconds()


@jobs.job(transactional=True)
def write(ctx: JobContext, *, fail: bool = False) -> str:
    """Take the connection, then return or raise."""
    if fail:
        raise ValueError
    return type(ctx.connection).__name__


def test_a_run_keeps_everything_that_the_handler_said() -> None:
    """Progress, errors, created entities, follow-ups, metrics and the result as JSON."""
    run = run_job(tell_all, {"day": "2025-01-31"})

    assert (run.status, run.success, run.result) == ("partial", True, {"day": "2025-01-31"})
    assert list(run.progress) == [Progress(10, "begun"), Progress(100)]
    assert list(run.extensions) == [60]
    assert [(error.code, error.item) for error in run.errors] == [("bad_row", 3)]
    assert list(run.created) == [("Order", "17")]
    assert [(job["job_type"], job["payload"]) for job in run.follow_ups] == [
        ("next", {"day": "2025-01-31"})
    ]
    assert run.metrics.items_processed == 5


@pytest.mark.parametrize(
    ("how", "attempt", "status"),
    [
        ("retry", 1, "retrying"),
        ("retry", 5, "failed"),
        ("snooze", 5, "snoozed"),
        ("cancel", 1, "cancelled"),
        ("fail", 1, "failed"),
        ("break", 1, "retrying"),
        ("break", 5, "failed"),
    ],
)
def test_what_a_handler_raises_is_the_status(how: str, attempt: int, status: str) -> None:
    """As in a worker, the last attempt fails where an earlier one is retried."""
    run = run_job(say, {"how": how}, attempt=attempt)

    assert (run.status, run.success) == (status, False)


def test_the_exception_and_the_error_are_kept() -> None:
    """A test can look at both."""
    run = run_job(say, {"how": "fail"})

    assert isinstance(run.exception, Fail)
    assert run.error is not None
    assert (run.error.code, run.error.message) == ("hopeless", "hopeless")


def test_the_stored_error_says_where_from_the_handler_on() -> None:
    """As in a worker: the frames of whoever calls the handler are left out."""
    run = run_job(say, {"how": "break"})

    assert run.report is not None
    first = run.report["error"]["traceback"].splitlines()[0]
    assert first.endswith("in say")
    assert __file__ in first


def test_a_payload_that_does_not_fit_has_no_traceback() -> None:
    """The message names the field; the binder's own frames would say nothing more."""
    run = run_job(say, {"how": 7})

    assert run.report is not None
    assert run.report["error"]["code"] == "payload_mismatch"
    assert run.report["error"]["traceback"] == ""


def test_what_is_logged_of_an_error_is_what_is_stored() -> None:
    """The same code and the same advice."""
    run = run_job(say, {"how": "retry"})

    assert run.report is not None
    assert run.error is not None
    assert run.error.to_dict() == run.report["error"]
    assert (run.error.code, run.error.retryable) == ("retry_requested", True)


def test_a_handler_knows_its_deadline() -> None:
    """Its time limit is not enforced here, but it can be looked at."""
    assert 50 < run_job(until).result <= 60


def test_a_payload_that_does_not_fit_fails_without_retry() -> None:
    """The payload goes through the binder."""
    run = run_job(tell_all, {"day": "soon"})

    assert run.status == "failed"
    assert isinstance(run.exception, PayloadMismatch)
    assert run.exception.field == "day"


def test_a_payload_that_json_cannot_hold_is_the_tests_own_mistake() -> None:
    """It is raised, not a failed run."""
    with pytest.raises(InvalidArgument):
        run_job(tell_all, {"day": object()})


@pytest.mark.parametrize(("fail", "ended"), [(False, "committed"), (True, "rolled back")])
def test_a_transactional_handler_gets_the_connection_in_a_transaction(
    fail: bool,  # noqa: FBT001
    ended: str,
) -> None:
    """It is rolled back when the handler raises, as in a worker."""
    connection = FakeConnection()

    run_job(write, {"fail": fail}, connection=connection)

    assert connection.ended == ended


@pytest.mark.parametrize(("handler", "connection"), [(write, None), (say, FakeConnection())])
def test_a_connection_is_given_if_and_only_if_the_handler_is_transactional(
    handler: Any, connection: Any
) -> None:
    """A test that passes here must not meet an error in production."""
    with pytest.raises(ConfigurationError, match="transactional"):
        run_job(handler, {"how": "retry"}, connection=connection)


def test_inside_a_coroutine_there_is_run_job_async() -> None:
    """And run_job says so."""

    async def inside() -> str:
        with pytest.raises(ConfigurationError, match="await run_job_async"):
            run_job(say, {"how": "snooze"})
        return (await run_job_async(say, {"how": "snooze"})).status

    assert asyncio.run(inside()) == "snoozed"


def test_the_reminder_is_turned_away_once() -> None:
    """The demo's greylisting server takes the second try."""
    first = run_job(send_reminder, {"email": "a@example.org", "invoice": "1"})
    second = run_job(send_reminder, {"email": "a@example.org", "invoice": "1"}, attempt=2)

    assert (first.status, second.status) == ("retrying", "succeeded")
    assert second.result["tries"] == 2


def test_the_statistics_are_the_same_in_every_attempt() -> None:
    """The dice are seeded; the median lies between its bounds."""
    first = run_job(price_statistics, {"file": "prices.csv", "rounds": 40})
    second = run_job(price_statistics, {"file": "prices.csv", "rounds": 40}, attempt=2)

    assert first.result == second.result
    assert all(one["low"] <= one["median"] <= one["high"] for one in first.result.values())
    assert first.progress[-1].percent == 100
