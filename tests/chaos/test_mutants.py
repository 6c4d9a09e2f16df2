"""The broken variants follow the source, and the schedule gives every fault its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import workers.metering
from pgqueue.migrate_app import migrate_app
from tests.chaos import mutants, nemeses
from tests.chaos.schedule import schedule

if TYPE_CHECKING:
    import psycopg

MUTANTS = mutants.every()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_can_still_be_made(
    db: psycopg.Connection[Any], dsn: str, mutant: mutants.Mutant
) -> None:
    """Its patterns are in the installed function; that it is caught proves `make mutants`."""
    if mutant.function is not None and mutant.function.startswith("metering."):
        migrate_app(workers.metering.__name__, dsn)
    before = _text(db, mutant)
    mutant.apply(db)

    assert mutant.kinds
    assert mutant.function is None or _text(db, mutant) != before


@pytest.mark.parametrize("seconds", [20.0, 45.0, 150.0])
def test_every_fault_has_its_turn(seconds: float) -> None:
    """In a short run more come at once; two that take the server away never do."""
    for seed in range(50):
        slots = schedule(nemeses.every(), seconds, seed)
        used = {nemesis.name for slot in slots for nemesis in slot.nemeses}
        most = max(sum(nemesis.exclusive for nemesis in slot.nemeses) for slot in slots)

        assert most == 1, f"seed {seed}"
        assert abs(sum(slot.seconds for slot in slots) - seconds) < 0.1, f"seed {seed}"
        if seconds > 100:
            assert used == {nemesis.name for nemesis in nemeses.every()}, f"seed {seed}"


def _text(db: psycopg.Connection[Any], mutant: mutants.Mutant) -> object:
    if mutant.function is None:
        return None
    return db.execute("select pg_get_functiondef(%s::regprocedure)", (mutant.function,)).fetchone()
