"""How far a worker's claims look back, and when it takes jobs for a stream."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pgqueue.worker.floors import LAG_SECONDS, Floors
from pgqueue.worker.stream import STREAM_SECONDS, Stream


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test moves."""
    now = [100.0]
    told = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("pgqueue.worker.floors.time", told)
    monkeypatch.setattr("pgqueue.worker.stream.time", told)
    return now


def _jobs(*positions: int) -> Any:
    return [SimpleNamespace(queue="default", priority=1, pos=pos) for pos in positions]


def _floor(floors: Floors) -> int:
    return floors.array()[1]


def test_a_floor_rises_at_once_while_claims_come_full() -> None:
    """There is more to claim: each claim would step over the dead rows of those before it."""
    floors = Floors(["default"])
    floors.saw(_jobs(1, 3, 5), full=True)

    assert _floor(floors) == 6


def test_a_floor_rises_later_when_a_claim_comes_back_short(clock: list[float]) -> None:
    """A job that drew an earlier position and commits late is found by the next claim."""
    floors = Floors(["default"])
    floors.saw(_jobs(1, 3), full=False)
    at_once = _floor(floors)
    clock[0] += LAG_SECONDS
    floors.saw(_jobs(5), full=False)

    assert (at_once, _floor(floors)) == (0, 4)


def test_a_full_claim_brings_up_the_floors_that_lag(clock: list[float]) -> None:
    """A burst in a steady stream is claimed as any other."""
    floors = Floors(["default"])
    floors.saw(_jobs(1, 3), full=False)
    clock[0] += LAG_SECONDS / 2
    floors.saw(_jobs(5, 7), full=True)
    floors.saw(_jobs(9), full=False)

    assert _floor(floors) == 8


def test_a_floor_never_sinks(clock: list[float]) -> None:
    """What was seen later, above what is remembered of earlier, counts."""
    floors = Floors(["default"])
    floors.saw(_jobs(3), full=False)
    floors.saw(_jobs(101), full=True)
    clock[0] += LAG_SECONDS
    floors.saw(_jobs(103), full=False)

    assert _floor(floors) == 102


@pytest.mark.parametrize(
    ("seconds", "long"), [((0.1, 0.1), False), ((0.1, 0.1, 0.1), True), ((0.1, 0.001, 0.1), False)]
)
def test_sweeps_take_long_when_several_did(seconds: tuple[float, ...], *, long: bool) -> None:
    """One may have waited for the machine: the jobs that ring would cost two claims each."""
    floors = Floors(["default"])
    for one in seconds:
        floors.swept(one)

    assert floors.sweep_takes_long == long


@pytest.mark.parametrize(("gap", "dense"), [(0.5, True), (1.5, False)])
def test_the_time_that_claims_take_is_no_gap(
    clock: list[float], gap: float, *, dense: bool
) -> None:
    """Claims of 10 times a stream's gap: what counts is the time between them."""
    stream = Stream()
    for _ in range(2):
        clock[0] += gap * STREAM_SECONDS
        began = clock[0]
        clock[0] += 10 * STREAM_SECONDS
        stream.found(began)

    assert stream.dense == dense
    assert stream.lasts == dense
