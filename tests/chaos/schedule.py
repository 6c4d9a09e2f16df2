"""Which faults when: drawn from the seed, each at least once where there is time."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.nemesis import Nemesis

SLOT_SECONDS = 7.0
AT_ONCE = (2, 3)


@dataclass(frozen=True, slots=True)
class Slot:
    """So many seconds with these faults at once."""

    seconds: float
    nemeses: tuple[Nemesis, ...]


def schedule(nemeses: Sequence[Nemesis], seconds: float, seed: int) -> list[Slot]:
    """
    Fill *seconds* with slots of two or three faults, of which at most one is exclusive.

    Args:
        nemeses: Those that this machine can do.
        seconds: In all.
        seed: The same seed, the same schedule.
    """
    draw = random.Random(f"{seed} schedule")  # noqa: S311
    slots: list[Slot] = []
    bag: list[Nemesis] = []
    count = max(1, round(seconds / SLOT_SECONDS))
    # In a short run more at once, so that each has its turn.
    most = max(AT_ONCE[1], -(-len(nemeses) // count))
    for _ in range(count):
        chosen: list[Nemesis] = []
        wanted = most if most > AT_ONCE[1] else draw.randint(*AT_ONCE)
        for _ in range(min(wanted, len(nemeses))):
            if not bag:
                bag = draw.sample(list(nemeses), len(nemeses))
            one = next((n for n in bag if n not in chosen and _fits(n, chosen)), None)
            if one is not None:
                bag.remove(one)
                chosen.append(one)
        slots.append(Slot(seconds / count, tuple(chosen)))
    return slots


def _fits(nemesis: Nemesis, chosen: list[Nemesis]) -> bool:
    return not (nemesis.exclusive and any(other.exclusive for other in chosen))
