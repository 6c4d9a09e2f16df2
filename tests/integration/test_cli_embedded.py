from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue.embedded import EmbeddedError, find_binaries
from tests.support.cli import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home(short_tmp: Path) -> Iterator[dict[str, str]]:
    """The environment of a server below a directory of the test's; stopped at the end."""
    try:
        find_binaries(18)
    except EmbeddedError as error:
        pytest.skip(f"no embedded server here: {error}")
    environment = {"PGQUEUE_HOME": str(short_tmp)}
    yield environment
    program("embedded", "stop", environment=environment)


def data(*words: str, environment: dict[str, str]) -> Any:
    """What `pgqueue embedded` prints with --json."""
    return json.loads(program("embedded", *words, "--json", environment=environment).stdout)


def test_a_server_is_started_used_and_stopped(home: dict[str, str]) -> None:
    """The whole life: status, dsn, psql, migrate; starting and stopping twice is harmless."""
    assert program("embedded", "status", environment=home).returncode == 1
    assert program("embedded", "dsn", environment=home).returncode == 7

    dsn = data("start", environment=home)["dsn"]
    again = data("start", environment=home)["dsn"]
    known = program("embedded", "dsn", environment=home).stdout.strip()
    migrated = program("migrate", "--dsn", dsn)
    asked = program(
        *("embedded", "psql", "-X", "-A", "-t", "-c", "select pgqueue.schema_version() > 0"),
        environment=home,
    )

    assert dsn == again == known
    assert migrated.returncode == 0, migrated.stderr
    assert asked.stdout.strip() == "t"
    assert data("status", environment=home)["running"] is True
    assert data("stop", environment=home) == {"stopped": True}
    assert data("stop", environment=home) == {"stopped": False}
