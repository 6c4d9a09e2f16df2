"""
Exhaustive exploration of a small model: every state that can be reached, breadth first.

A model is a start state, a function that yields the labelled successors of a state, and a function
that says what is wrong with a state. Breadth first makes a counterexample the shortest there is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    Key = Hashable

S = TypeVar("S", bound="Key")
STATES_MAX = 2_000_000


class Counterexample(AssertionError):
    """A state that must not be, with the shortest way to it."""


@dataclass(frozen=True, slots=True)
class Model(Generic[S]):
    """
    What is explored.

    Attributes:
        start: The first state; hashable, as all are.
        steps: The successors of a state, each with what happens on the way.
        wrong: What is wrong with a state; None = nothing.
        goal: If given, a state where it holds must be within reach of every state.
    """

    start: S
    steps: Callable[[S], Iterable[tuple[str, S]]]
    wrong: Callable[[S], str | None]
    goal: Callable[[S], bool] | None = None


@dataclass(frozen=True, slots=True)
class Explored:
    """The size of what was explored."""

    states: int
    transitions: int

    def __str__(self) -> str:
        return f"{self.states:,} states, {self.transitions:,} transitions"


def explore(model: Model[S]) -> Explored:
    """
    Visit every state.

    Raises:
        Counterexample: One is wrong, or cannot reach the goal any more.
    """
    came: dict[S, tuple[S, str] | None] = {model.start: None}
    before: dict[S, list[S]] = {model.start: []}
    transitions = 0
    todo = deque([model.start])
    while todo:
        state = todo.popleft()
        problem = model.wrong(state)
        if problem is not None:
            raise Counterexample(_story(problem, state, came))
        for label, after in model.steps(state):
            transitions += 1
            if after not in came:
                came[after] = (state, label)
                before[after] = []
                todo.append(after)
                assert len(came) <= STATES_MAX, "the model is too large"
            before[after].append(state)
    if model.goal is not None:
        _check_goal(model.goal, came, before)
    return Explored(len(came), transitions)


def _check_goal(
    goal: Callable[[S], bool],
    came: dict[S, tuple[S, str] | None],
    before: dict[S, list[S]],
) -> None:
    reaching = {state for state in came if goal(state)}
    todo = list(reaching)
    while todo:
        for state in before[todo.pop()]:
            if state not in reaching:
                reaching.add(state)
                todo.append(state)
    for state in came:  # in the order of discovery: the first is the nearest
        if state not in reaching:
            raise Counterexample(_story("from here it never gets to its goal", state, came))


def _story(problem: str, state: S, came: dict[S, tuple[S, str] | None]) -> str:
    labels = []
    at = state
    while (step := came[at]) is not None:
        at, label = step
        labels.append(label)
    lines = [f"{n}. {label}" for n, label in enumerate(reversed(labels), start=1)]
    return "\n".join([problem, *lines, f"=> {state}"])
