"""Random lives of jobs agree with the model; a broken function does not."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.machine import Lives
from tests.support.clock import install_with_clock
from tests.support.sqljobs import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
_ALL = settings(
    max_examples=2000 if LONG else 60,
    stateful_step_count=60 if LONG else 40,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
# Without the shrinking, which only a reader needs.
_UNTIL_FOUND = settings(_ALL, max_examples=600, phases=[Phase.generate], report_multiple_bugs=False)
_ROUNDS_MAX = 3  # of lives, until all of MUST_SEE has been seen: one suffices nearly always

MUTANTS = {
    "a completion that asks only for the job": [
        (
            "functions/complete.sql",
            (
                "coalesce((r.job_id, r.token) in (\n                select u.job_id, u.token"
                " from unnest(p_job_ids, p_tokens) as u (job_id, token)), false)"
            ),
            "true",
        ),
        (
            "functions/complete.sql",
            "g.job_id = x.job_id and g.token = x.token",
            "g.job_id = x.job_id",
        ),
        (
            "functions/complete.sql",
            "f.job_id = p_job_id and f.token = p_token and f.status in ('succeeded', 'partial')",
            "f.job_id = p_job_id and f.status in ('succeeded', 'partial')",
        ),
    ],
    "a snooze that uses up an attempt": [
        ("functions/fail.sql", "p_delay, 'snooze', false)", "p_delay, 'snooze', true)")
    ],
    "a rescue that forgets that a cancellation was requested": [
        (
            "functions/rescue.sql",
            "if p_running.cancel_requested_at is not null then",
            "if false then",
        )
    ],
    "a follow-up that does not get the key": [
        (
            "functions/finish.sql",
            "update pgqueue.jobs j set unique_key = v_follow_up.unique_key where",
            "update pgqueue.jobs j set unique_key = null where",
        )
    ],
}


# A machine that no longer gets there proves nothing.
MUST_SEE = {
    *(f"status: {status}" for status in STATUSES),
    *("complete: PQ001", "cancel: running", "key passed on", "claim: 1"),
}


def _live(dsn: str, how: settings) -> Counter[str]:
    with psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=30s") as conn:
        seen: Counter[str] = Counter()
        machine = type("LivesHere", (Lives,), {"db": conn, "seen": seen})
        run_state_machine_as_test(machine, settings=how)
        return seen


@pytest.mark.parametrize("part", range(2))
@pytest.mark.timeout(3600 if LONG else 120)
def test_random_lives_agree_with_the_model(
    empty_dsn: str, part: int, figure: Callable[[str], None]
) -> None:
    """After each step every job stands where the model says, and verify() has nothing to report."""
    install_with_clock(empty_dsn)
    seen: Counter[str] = Counter()
    missing = MUST_SEE
    for _ in range(_ROUNDS_MAX):
        seen += _live(empty_dsn, _ALL)
        missing = {what for what in MUST_SEE if not seen[what]}
        if not missing:
            break
    figure(f"random lives, part {part}: {seen['lives']} lives of {_ALL.stateful_step_count} steps")

    assert missing == set(), f"never seen; seen: {sorted(seen.items())}"


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_function_does_not_agree(empty_dsn: str, mutant: str) -> None:
    """The machine finds it."""
    install_with_clock(empty_dsn, MUTANTS[mutant])
    # Flaky: found, and not again by the same steps, for backoff is drawn at random.
    with pytest.raises((AssertionError, FlakyFailure)):
        _live(empty_dsn, _UNTIL_FOUND)
