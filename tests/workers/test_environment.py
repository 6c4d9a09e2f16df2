"""Settings of applications: read from variables, refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from pgqueue import ConfigurationError
from workers.environment import Environment


def read(name: str, value: str | None, kind: str, *args: Any, **kwargs: Any) -> Any:
    """One variable."""
    variables = {} if value is None else {f"SHOP_{name}": value}
    return getattr(Environment("SHOP_", variables), kind)(name, *args, **kwargs)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_not_set_or_empty_is_its_default(value: str | None) -> None:
    """Of every kind."""
    assert read("X", value, "text", "a") == "a"
    assert read("X", value, "whole", 7) == 7
    assert read("X", value, "seconds", 1.5) == 1.5
    assert read("X", value, "flag", default=True) is True
    assert read("X", value, "words", ("a", "b")) == ("a", "b")
    assert read("X", value, "url", "http://x/") == "http://x"


def test_what_is_set_is_read() -> None:
    """White space around it does not count."""
    assert read("X", " 12 ", "whole", 7) == 12
    assert read("X", "0.5", "seconds", 7) == 0.5
    assert read("X", "Off", "flag", default=True) is False
    assert read("X", "a, b,,a", "words") == ("a", "b")
    assert read("X", "https://api.example.com/v3/", "url", "") == "https://api.example.com/v3"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_address_without_default_must_be_set(value: str | None) -> None:
    """Some address of this machine instead would look like an outage."""
    with pytest.raises(ConfigurationError, match=r"^SHOP_X is not set: it must be an http"):
        read("X", value, "url")


@pytest.mark.parametrize(
    ("kind", "value", "args"),
    [
        ("whole", "many", (1,)),
        ("whole", "0", (1,)),
        ("whole", "1000001", (1,)),
        ("seconds", "nan", (1.0,)),
        ("seconds", "0", (1.0,)),
        ("seconds", "soon", (1.0,)),
        ("url", "ftp://x", ("",)),
        ("url", "api.example.com", ("",)),
        ("url", "http://[", ("",)),
    ],
)
def test_nonsense_is_refused_by_the_name_of_its_variable(
    kind: str, value: str, args: tuple[Any, ...]
) -> None:
    """Whoever set it can find it."""
    with pytest.raises(ConfigurationError, match=r"^SHOP_X is "):
        read("X", value, kind, *args)


def test_a_flag_is_yes_or_no() -> None:
    """Nothing between."""
    with pytest.raises(ConfigurationError, match="SHOP_X is 'maybe', not true or false"):
        read("X", "maybe", "flag", default=True)
