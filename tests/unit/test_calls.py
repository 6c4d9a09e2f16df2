from __future__ import annotations

import asyncio
import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

from pgqueue import calls
from pgqueue.calls.core import Call, Pause, drive, drive_async, lenient_loads, scalar, translated
from pgqueue.calls.producer import job_row
from pgqueue.errors import DatabaseUnavailable, InvalidArgument, LeaseLost

if TYPE_CHECKING:
    from pgqueue.calls import Script

ONE = Call("select 1", (), scalar)
AGAIN = Call("select 1", (), scalar, repeatable=True)


@dataclass(frozen=True)
class Order:
    """A payload."""

    id: UUID
    price: Decimal


def test_a_script_is_sent_answers_and_thrown_errors_alike_in_both_worlds() -> None:
    """One definition serves synchronous and asynchronous code."""

    def script() -> Script[list[Any]]:
        seen = [(yield ONE)]
        yield Pause(0)
        try:
            yield ONE
        except LeaseLost as exc:
            seen.append(exc.message)
        return seen

    def answers() -> Any:
        given = iter([7, LeaseLost("gone")])

        def execute(_: Call[Any]) -> Any:
            answer = next(given)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return execute

    async def run_async() -> list[Any]:
        execute = answers()

        async def later(call: Call[Any]) -> Any:
            return execute(call)

        return await drive_async(later, script())

    assert drive(answers(), script()) == [7, "gone"]
    assert asyncio.run(run_async()) == [7, "gone"]


def test_only_a_repeatable_call_follows_an_outage() -> None:
    """Whether a lost reply meant a lost call is not known."""
    tried = []

    def execute(call: Call[Any]) -> Any:
        tried.append(call)
        if len(tried) < 3:
            raise DatabaseUnavailable("gone")
        return 1

    assert drive(execute, calls.persist(AGAIN, seconds=20)) == 1
    assert tried == [AGAIN] * 3

    tried.clear()
    with pytest.raises(DatabaseUnavailable):
        drive(execute, calls.persist(ONE, seconds=20))
    assert tried == [ONE]


def test_an_outage_that_lasts_is_an_error() -> None:
    """No repetition starts after the time is up."""

    def execute(_: Call[Any]) -> Any:
        raise DatabaseUnavailable("gone")

    with pytest.raises(DatabaseUnavailable):
        drive(execute, calls.persist(AGAIN, seconds=0))


def test_a_payload_may_be_a_dataclass_with_uuids_and_decimals() -> None:
    """As jsonio writes them: a Decimal as a string, which no reader rounds."""
    job_id = UUID(int=5)

    row = job_row(calls.new_job("a", Order(job_id, Decimal("10.50"))))

    assert row["payload"] == {"id": str(job_id), "price": "10.50"}


def test_only_what_was_given_is_in_the_row() -> None:
    """Everything else is the job type's, or the database's default."""
    row = job_row(calls.new_job("a", delay=dt.timedelta(minutes=1), timeout=5, tenant_id="t"))
    given = {key: value for key, value in row.items() if key != "id"}

    assert given == {
        "job_type": "a",
        "payload": {},
        "delay_seconds": 60.0,
        "timeout_seconds": 5,
        "tenant_id": "t",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run_at": dt.datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001  # on purpose
        ({"delay": 5, "run_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, "not both"),
        ({"delay": -1}, "delay must be above 0"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"queu": "x"}, "no option queu"),
    ],
)
def test_what_cannot_be_a_job_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidArgument, match=message):
        calls.enqueue("a", **options)


@pytest.mark.parametrize("payload", [[1], "x", 5, {"x": float("nan")}, {"x": "a\0b"}, object()])
def test_a_payload_that_is_no_json_object_is_refused(payload: object) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidArgument):
        calls.enqueue("a", payload)


def test_a_wrong_job_of_many_is_named_by_its_number() -> None:
    """Among ten thousand it would not be found otherwise."""
    with pytest.raises(InvalidArgument, match="job 2: payload must be an object"):
        calls.enqueue_many([calls.new_job("a"), calls.new_job("b", [1])])


def test_merging_is_not_repeatable() -> None:
    """A second merge would append the arrays again."""
    assert calls.enqueue("a").repeatable
    assert not calls.enqueue("a", on_duplicate="merge").repeatable


def test_json_that_python_refuses_stays_text() -> None:
    """PostgreSQL stores it, and one such result must not hide its job."""
    digits = "9" * 5000
    deep = "[" * 100_000 + "]" * 100_000

    assert lenient_loads(digits.encode()) == digits
    assert lenient_loads(deep) == deep
    assert lenient_loads(json.dumps({"a": 1})) == {"a": 1}


def test_psycopgs_own_refusals_and_time_limits_are_translated() -> None:
    """They carry no SQLSTATE of ours."""
    assert isinstance(translated(psycopg.DataError("NUL")), InvalidArgument)
    assert isinstance(translated(psycopg.errors.QueryCanceled("slow")), DatabaseUnavailable)
    assert isinstance(translated(psycopg.errors.LockNotAvailable("lock")), DatabaseUnavailable)

    odd = psycopg.errors.DivisionByZero("odd")
    assert translated(odd) is odd
