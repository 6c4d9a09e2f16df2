"""Properties of single functions, for whatever Hypothesis thinks of."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.sqljobs import claim, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_SOME = settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_MS, _DAY = 1000, 86_400_000_000  # microseconds: the grain of an interval
_TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)  # surrogates and NUL too
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@_SOME
@given(
    base=st.integers(_MS, 7 * _DAY),
    factor=st.floats(1, 100),
    cap=st.integers(_MS, 30 * _DAY),
    attempt=st.integers(1, 2**31 - 1) | st.integers(1, 20),
)
@example(base=7 * _DAY, factor=100, cap=30 * _DAY, attempt=2**31 - 1)
@example(base=_MS, factor=1, cap=_MS, attempt=2**31 - 1)
def test_no_backoff_is_negative_or_beyond_its_cap(
    db: Db, base: int, factor: float, cap: int, attempt: int
) -> None:
    """Nor beyond base * factor ^ (attempt - 1), for every attempt number up to 2^31 - 1."""
    db.execute(
        """select pgqueue.set_job_type('t', p_backoff_factor => %s,
            p_backoff_base => %s * interval '1 microsecond',
            p_backoff_cap => %s * interval '1 microsecond')""",
        (factor, base, cap),
    )
    found = value(db, "select extract(epoch from pgqueue.backoff('t', %s))::float8 * 1e6", attempt)
    try:
        grown = float(base) * float(factor) ** (
            attempt - 1
        )  # whole numbers would be exact, and huge
    except OverflowError:
        grown = float(cap)

    assert 0 <= found <= min(cap, grown) * (1 + 1e-6) + 1


@_SOME
@given(
    jobs=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=40),
    limits=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    plan=st.sampled_from(["auto", "force_custom_plan", "force_generic_plan"]),
    analyzed=st.booleans(),
)
def test_a_claim_returns_what_there_is_and_never_more_than_asked_for(
    db: Db, jobs: list[tuple[str, int]], limits: list[int], plan: str, *, analyzed: bool
) -> None:
    """Over two queues and four priorities, with and without statistics, whatever the plan."""
    db.execute(f"set plan_cache_mode = {plan}")
    with db.transaction(force_rollback=True):
        for queue, priority in jobs:
            db.execute(
                "insert into pgqueue.jobs (job_type, queue, priority) values ('t', %s, %s)",
                (queue, priority),
            )
        if analyzed:
            db.execute("analyze pgqueue.ready")
        by, left = worker(db, ["a", "b"]), len(jobs)
        for limit in limits:
            got = len(claim(db, by, limit, queues=["a", "b"]))

            assert got == min(limit, left)
            left -= got


def _refusable(found: Any) -> bool:
    """Whether jsonb cannot hold it: a NUL character, or half of a surrogate pair."""
    match found:
        case str():
            return any(c == "\0" or "\ud800" <= c <= "\udfff" for c in found)
        case list():
            return any(map(_refusable, found))
        case dict():
            return any(map(_refusable, [*found, *found.values()]))
    return False


def _exact(text: str) -> Any:
    """As written: jsonb prints 1e23 as an integer, which is not the float 1e23."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


@_SOME
@given(payload=st.dictionaries(_TEXT, _JSON, max_size=4))
@example(payload={"n": 10**4000, "f": 5e-324, "g": 1.7976931348623157e308})
@example(payload={"nul": "a\0b"})
@example(payload={"half": "\ud83d"})
def test_a_payload_comes_back_as_it_was_or_is_refused(db: Db, payload: dict[str, Any]) -> None:
    """Refused are those with a NUL character or half a surrogate pair, and no others."""
    text = json.dumps(payload)
    # Two escaped halves in a row are one character to every reader of JSON, Python's too.
    meant = _exact(text)
    with db.transaction(force_rollback=True):
        if _refusable(meant):
            with pytest.raises(psycopg.DataError):
                db.execute("insert into pgqueue.jobs (job_type, payload) values ('t', %s)", (text,))
            return
        db.execute("insert into pgqueue.jobs (job_type, payload) values ('t', %s)", (text,))
        (job,) = claim(db, worker(db))

        assert _exact(job.payload) == meant
