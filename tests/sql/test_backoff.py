"""Backoff: full jitter between 0 and the cap, for every attempt number that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import row, value

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_ATTEMPTS = (1, 2, 3, 10, 63, 64, 1000, 2**31 - 1)


def _delays(db: Db, attempt: int) -> tuple[float, float, float]:
    """Least, mean and greatest of 400 delays in seconds."""
    low, mean, high = row(
        db,
        """select min(s), avg(s), max(s) from (
               select extract(epoch from pgqueue.backoff('t', %s))::float8 as s
               from generate_series(1, 400)) d""",
        attempt,
    )
    return low, mean, high


@pytest.mark.parametrize(
    ("base", "factor", "cap"),
    [
        ("5 s", 2, "1 hour"),
        ("1 ms", 1, "1 hour"),
        ("1 ms", 100, "30 days"),
        ("7 days", 100, "30 days"),
        ("1 day", 2, "1 ms"),
    ],
)
def test_a_delay_lies_between_0_and_the_cap(db: Db, base: str, factor: float, cap: str) -> None:
    """Also at attempt 2^31 - 1, where base * factor ^ attempt would overflow."""
    db.execute(
        """select pgqueue.set_job_type('t', p_backoff_base => %s, p_backoff_factor => %s,
            p_backoff_cap => %s)""",
        (base, factor, cap),
    )
    base_seconds, cap_seconds = row(
        db,
        "select extract(epoch from %s::interval)::float8, extract(epoch from %s::interval)::float8",
        base,
        cap,
    )
    for attempt in _ATTEMPTS:
        grown = base_seconds * factor ** min(attempt - 1, 100)
        limit = min(cap_seconds, grown)
        low, mean, high = _delays(db, attempt)

        assert low >= 0
        assert high <= limit + 1e-6
        assert 0.4 * limit < mean < 0.6 * limit


@pytest.mark.parametrize("attempt", [0, -1, -(2**31)])
def test_an_odd_attempt_number_counts_as_the_first(db: Db, attempt: int) -> None:
    """It is a hint from a table, not worth an error in the middle of a failure."""
    assert _delays(db, attempt)[0] >= 0
    assert _delays(db, attempt)[2] <= 5


def test_the_settings_fill_what_the_type_leaves_open(db: Db) -> None:
    """A type without settings, and a type that nobody registered, use the same defaults."""
    db.execute(
        "select pgqueue.set_settings(p_backoff_base => '1 hour', p_backoff_cap => '2 hours')"
    )
    db.execute("select pgqueue.set_job_type('t')")

    assert 0.4 * 3600 < _delays(db, 1)[1] < 0.6 * 3600
    unknown = value(
        db,
        """select avg(extract(epoch from pgqueue.backoff('unknown', 1)))::float8
           from generate_series(1, 400)""",
    )
    assert 0.4 * 3600 < unknown < 0.6 * 3600
