"""Specs of the doorbell: whoever sleeps while a job waits has been rung, or called to the door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.races.stepper import END, Run, Spec, Step
from tests.support.sqljobs import value, worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.sqljobs import Db

_INSERT = "begin; insert into pgqueue.jobs (job_type) values ('t')"
_REST = "select place, queue_hash from pgqueue.rest('{default}')"
_PASS_ON = "select pgqueue.leave('{default}', true)"


def _sleeps(name: str) -> Sequence[str | Step]:
    """Lie down at the door, and claim once more on the other connection."""
    last_claim = f"select job_id from pgqueue.claim(:{name}, '{{default}}', 1)"
    return [_REST, Step(last_claim, on=f"claims of {name}")]


def _workers(db: Db) -> dict[str, Any]:
    return {"one": worker(db), "two": worker(db)}


def _asleep(run: Run, name: str) -> bool:
    """It has a place, and its last claim found nothing."""
    return run.answer(name).value != "-1" and not run.answer(name, 1).rows


def _woken(run: Run, name: str) -> bool:
    """What is in its socket names its place."""
    place, number = run.answer(name).value, run.answer(name).rows[0]["queue_hash"]
    word = f"ring {number}" if place == "0" else f"seat {number} {place}"
    return word in run.wires[name].heard()


def _waiting(run: Run) -> int:
    return int(value(run.db, "select count(*) from pgqueue.ready"))


def _insert_sleep(run: Run) -> None:
    assert run.answer("one").value in {"0", "-1"}
    if _waiting(run) and _asleep(run, "one"):
        assert _woken(run, "one"), "it sleeps, a job waits, and nobody has rung"


def _two_sleepers(run: Run) -> None:
    places = [run.answer(name).value for name in ("one", "two")]
    assert places.count("0") <= 1, "two doormen"
    if _waiting(run) and all(_asleep(run, name) for name in ("one", "two")):
        woken = [name for name in ("one", "two") if _woken(run, name)]
        assert len(woken) == 1, f"a job waits, both sleep, and {woken} are woken"


def _pass_on(run: Run) -> None:
    # "one" has got up for good: the door must have a keeper, or "two" must know that it is free.
    place = run.answer("two").value
    if not _asleep(run, "two"):
        return
    if place != "0":
        assert _woken(run, "two"), "the doorman has left, and the bench has not heard of it"
    elif _waiting(run):
        assert _woken(run, "two"), "the doorman sleeps, a job waits, and nobody has rung"


SPECS = [
    Spec(
        name="insert / insert / sleep",
        setup=_workers,
        sessions={"one": _sleeps("one"), "a": [_INSERT, END], "b": [_INSERT, END]},
        check=_insert_sleep,
        at_least=360,
    ),
    Spec(
        name="insert / sleep / sleep",
        setup=_workers,
        sessions={"one": _sleeps("one"), "two": _sleeps("two"), "a": [_INSERT, END]},
        check=_two_sleepers,
        at_least=180,
    ),
    Spec(
        name="insert / sleep and pass the door on / sleep",
        setup=_workers,
        sessions={
            "one": [*_sleeps("one"), _PASS_ON],
            "two": _sleeps("two"),
            "a": [_INSERT, END],
        },
        check=_pass_on,
        at_least=420,
    ),
]
