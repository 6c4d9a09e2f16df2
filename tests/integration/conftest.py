"""Directories for servers, and an installer without rights that he does not need."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cluster import Cluster


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """As tmp_path, but short enough for sockets and open to the user that runs root's servers."""
    made = Path(tempfile.mkdtemp(prefix="pgqueue-test-", dir="/tmp"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def unused_port() -> int:
    """A TCP port that nobody listens on at present."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def plain_owner(cluster: Cluster, empty_dsn: str) -> Iterator[str]:
    """Conninfo of the empty database as its owner, who is no superuser and creates no roles."""
    name, database = f"pgqueue_test_owner_{os.getpid()}", conninfo_to_dict(empty_dsn)["dbname"]
    names = {"role": sql.Identifier(name), "db": sql.Identifier(str(database))}
    with psycopg.connect(cluster.dsn(cluster.maintenance_dbname), autocommit=True) as admin:
        admin.execute(sql.SQL("create role {role} login password 'x'").format(**names))
        admin.execute(sql.SQL("alter database {db} owner to {role}").format(**names))
        yield make_conninfo(empty_dsn, user=name, password="x")
        admin.execute(sql.SQL("alter database {db} owner to current_user").format(**names))
        with psycopg.connect(empty_dsn, autocommit=True) as inside:
            inside.execute(sql.SQL("drop owned by {role} cascade").format(**names))
        admin.execute(sql.SQL("drop role {role}").format(**names))
