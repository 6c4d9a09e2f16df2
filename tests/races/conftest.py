"""Sessions that race, and the deadline that each of their statements has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.races.sessions import SECONDS, Sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

# Their asserts say as much as those of tests. Imported by test_permutations.py, later than this.
for _name in ("specs_claim", "specs_doorbell", "specs_finish", "specs_keys", "specs_limits"):
    pytest.register_assert_rewrite(f"tests.races.{_name}")


class Open:
    """Opens connections whose statements end by themselves."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def __call__(self) -> Db:
        """One that commits each statement."""
        return self._connect(options=f"-c statement_timeout={SECONDS}s")

    def transaction(self) -> Db:
        """One that commits when it is told to."""
        return self._connect(autocommit=False, options=f"-c statement_timeout={SECONDS}s")


@pytest.fixture
def open_session(connect: Connect) -> Open:
    """A factory of connections."""
    return Open(connect)


@pytest.fixture
def sessions(connect: Connect) -> Iterator[Sessions]:
    """Threads for concurrent statements, joined at the end."""
    running = Sessions(connect())
    yield running
    running.close()
