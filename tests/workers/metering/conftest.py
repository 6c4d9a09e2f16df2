"""Databases with metering, whose invariants must hold when a test ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import workers.metering
from pgqueue.migrate_app import migrate_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sqljobs import Db


@pytest.fixture
def shop(dsn: str, db: Db) -> Iterator[Db]:
    """Customers acme and zoo; a picture costs 30 cents, a film waits for its 100."""
    migrate_app(workers.metering.__name__, dsn)
    db.execute(
        """select metering.set_customer('acme'), metering.set_customer('zoo'),
            metering.set_price('picture', 30, 'EUR'),
            metering.set_price('film', 100, 'EUR', 'hold')"""
    )
    yield db
    assert db.execute("select * from metering.verify()").fetchall() == []
