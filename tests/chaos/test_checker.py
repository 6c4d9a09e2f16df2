"""The checker bites: every kind of corrupted history is caught, and no clean one is."""

from __future__ import annotations

import random
import sys
import time

import pytest

from tests.chaos import flow_histories, histories
from tests.chaos.checker import check
from tests.chaos.corruption import KINDS
from tests.chaos.evidence import Claim, Entry, Evidence, Flow
from tests.chaos.flow_corruption import FLOW_KINDS

EACH = 50
CLEAN = 2_000
MANY = 100_000
SECONDS_PER_MILLION_MAX = 60.0


ALL = {**KINDS, **FLOW_KINDS}


@pytest.mark.parametrize("kind", ALL)
def test_every_corruption_is_caught(kind: str) -> None:
    """Fifty histories of forty jobs, corrupted at random: fifty of fifty, under the right name."""
    corrupt, wanted = ALL[kind]
    missed = []
    for seed in range(EACH):
        evidence = _with_all(seed)
        corrupt(evidence, random.Random(f"{kind} {seed}"))  # noqa: S311
        if not wanted <= check(evidence).kinds:
            missed.append(seed)

    assert missed == []


def test_clean_histories_raise_no_alarm() -> None:
    """Two thousand small ones: lost attempts, retries, keys, limits, orders, batches, money."""
    alarms = {
        seed: verdict.violations
        for seed in range(CLEAN)
        if (verdict := check(_flowing(20, seed))).violations
    }

    assert alarms == {}


def test_many_jobs_are_checked_in_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """The time grows with the jobs: `python -m tests.chaos check` measures a million."""
    evidence = histories.many(MANY)
    began = time.process_time()
    verdict = check(evidence)
    took = time.process_time() - began
    with capsys.disabled():
        sys.stdout.write(f" {MANY:,} jobs checked in {took:.2f} s of CPU time ")

    assert verdict.violations == []
    assert verdict.counts["succeeded"] == MANY
    assert took < SECONDS_PER_MILLION_MAX * MANY / 1_000_000


def test_a_violation_comes_with_the_events_of_its_job() -> None:
    """And with the seed: what is needed to see it, and to see it again."""
    evidence = histories.clean(40, "witness")
    KINDS["ghost"][0](evidence, random.Random(1))  # noqa: S311
    said = check(evidence).explain(evidence, 4711)

    assert "seed 4711: ghost" in said
    assert "enqueue: fail" in said
    assert "log: running" in said


def test_an_unknown_outcome_counts_as_neither() -> None:
    """An enqueue whose reply was lost may be there or not; one of each is fine."""
    there = [
        Entry(1, "ready", attempt=0),
        Entry(1, "running", token=1, worker=1, attempt=1),
        Entry(1, "finished", "succeeded", 1, 1, 1),
    ]
    evidence = Evidence(
        asked={1: "info", 2: "info"}, log=there, final={1: ("succeeded", 1)}, unsure=None
    )

    assert check(evidence).violations == []


@pytest.mark.parametrize(
    ("flow", "compared"),
    [
        (Flow(), 3),
        (Flow(gates={9: ("narrow",)}), 1),
        (Flow(gates={9: ("narrow",)}, limited_at=22), 2),
        (Flow(gates={9: ("narrow",)}, limited_at=28), 3),
    ],
    ids=["no limits", "from the start", "from the second claim on", "later"],
)
def test_only_claims_that_are_compared_count_as_checked_for_order(
    flow: Flow, compared: int
) -> None:
    """Not those with floors, nor empty ones; beside limits only those that no other overlapped."""
    claims = [
        Claim(begun, ended, "w", 1, sweep, [(job, job, "q", 1, job)] if job else [])
        for begun, ended, sweep, job in (
            (10, 20, True, 1),
            (15, 25, True, 2),
            (30, 40, True, 3),
            (50, 60, False, 4),
            (70, 80, True, None),
        )
    ]
    evidence = Evidence(claims=claims, unsure=None, flow=flow)

    assert check(evidence).counts["order checked"] == compared


def _flowing(jobs: int, seed: object) -> Evidence:
    evidence = histories.clean(jobs, f"clean {seed}")
    flow_histories.add(evidence, random.Random(f"flow {seed}"))  # noqa: S311
    return evidence


def _with_all(seed: int) -> Evidence:
    """A clean history that has everything in it that can be corrupted."""
    for n in range(100):
        evidence = _flowing(40, f"{seed} {n}")
        entered = {entry.entered for entry in evidence.log}
        lost = any(entry.detail == "lost" for entry in evidence.log)
        enough = {"attempt", "scheduled", "key"} <= entered and lost
        if enough and evidence.ledger and evidence.wakes:
            return evidence
    raise AssertionError("no such history")
