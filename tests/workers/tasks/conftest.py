"""The application's schema, installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import workers.tasks
from pgqueue import load_app
from pgqueue.migrate_app import migrate_app

if TYPE_CHECKING:
    import psycopg

    from pgqueue import Registry


@pytest.fixture
def app() -> Registry:
    """Its handlers."""
    return load_app(workers.tasks.__name__)


@pytest.fixture
def installed(dsn: str, db: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """The database with the schema of the application in it."""
    migrate_app(workers.tasks.__name__, dsn)
    return db
