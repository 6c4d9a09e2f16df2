"""Databases that live as long as one test."""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from pytest_postgresql.janitor import DatabaseJanitor

from tests.support.cluster import CONNECT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cluster import Cluster

_VERIFY_SECONDS = 30
_numbers = itertools.count(1)


@contextmanager
def scratch_database(cluster: Cluster, *, template: str | None = None) -> Iterator[str]:
    """
    Create a database and drop it at the end, whoever is still connected; yields its conninfo.

    Args:
        cluster: Where.
        template: The database to clone; None for an empty one.
    """
    janitor = DatabaseJanitor(
        user=cluster.user,
        host=cluster.host,
        port=cluster.port,
        password=cluster.password,
        dbname=f"pgqueue_test_{os.getpid()}_{next(_numbers)}",
        template_dbname=template,
        maintenance_dbname=cluster.maintenance_dbname,
        connection_timeout=CONNECT_SECONDS,
    )
    with janitor:
        yield cluster.dsn(janitor.dbname)


def violations(dsn: str) -> list[str]:
    """
    What pgqueue.verify() reports; nothing if the schema is not installed.

    Args:
        dsn: The database.
    """
    timeouts = f"-c statement_timeout={_VERIFY_SECONDS}s -c lock_timeout={_VERIFY_SECONDS}s"
    with psycopg.connect(
        dsn, autocommit=True, connect_timeout=CONNECT_SECONDS, options=timeouts
    ) as conn:
        found = conn.execute("select to_regprocedure('pgqueue.verify()') is not null").fetchone()
        if found is None or not found[0]:
            return []
        return [str(row) for row in conn.execute("select * from pgqueue.verify()")]
