"""Limits as handlers declare them: rates in words, nonsense by the handler's name."""

from __future__ import annotations

import pytest

from pgqueue import ConfigurationError, Registry
from pgqueue.limiting import parse_rate


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("100/minute", (100, 60.0)),
        ("5/s", (5, 1.0)),
        ("20/30 seconds", (20, 30.0)),
        ("1/day", (1, 86_400.0)),
    ],
)
def test_rates_are_written_as_people_say_them(text: str, read: tuple[int, float]) -> None:
    """So many, per how long."""
    assert parse_rate(text) == read


@pytest.mark.parametrize("options", [{"rate": "fast"}, {"rate": "0/s"}, {"max_running": 0}])
def test_a_declaration_that_makes_no_sense_names_the_handler(options: dict[str, object]) -> None:
    """At import, not at run time."""
    with pytest.raises(ConfigurationError, match="_nothing"):
        Registry("bad").job("t", **options)(_nothing)  # type: ignore[call-overload]


async def _nothing() -> None:
    """Do nothing."""
