"""The application's schema, installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import workers.tasks
from pgqueue import load_app
from tests.support.psql import REPOSITORY, psql

if TYPE_CHECKING:
    import psycopg

    from pgqueue import Registry

SQL = REPOSITORY / "workers" / "tasks" / "sql"


@pytest.fixture
def app() -> Registry:
    """Its handlers."""
    return load_app(workers.tasks.__name__)


@pytest.fixture
def installed(dsn: str, db: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """The database with the schema of the application in it."""
    psql(dsn, file=SQL / "0001_tasks.sql")
    psql(dsn, file=SQL / "functions" / "sql_task.sql")
    return db
