"""What the environment says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from workers.environment import Environment

ADD_UP_TO_MAX = 1_000_000_000  # works_add_up_to_check


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The producer's.

    Attributes:
        count: NUMBERS_COUNT: demands per tick.
        add_up_to_max: NUMBERS_ADD_UP_TO_MAX: the largest bound that it draws.
    """

    count: int
    add_up_to_max: int

    @classmethod
    def read(cls, environment: Environment | None = None) -> Self:
        """
        Read them.

        Raises:
            ConfigurationError: A value that makes no sense; names the variable.
        """
        env = environment or Environment("NUMBERS_")
        return cls(
            count=env.whole("COUNT", 5, most=10_000),
            add_up_to_max=env.whole("ADD_UP_TO_MAX", 1_000_000, most=ADD_UP_TO_MAX),
        )
