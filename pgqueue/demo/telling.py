"""What the demo prints: each step, and how long it took."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["indented", "say", "step"]


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    click.echo(text)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is done, and how long it took or that it failed."""
    say(f"\n==> {title}")
    began = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"    FAILED after {time.monotonic() - began:.1f} s")
        raise
    say(f"    done in {time.monotonic() - began:.1f} s")


def indented(text: str) -> str:
    """Four spaces before each line, and none after it."""
    return "\n".join(f"    {line}".rstrip() for line in text.strip("\n").splitlines())
