"""Directories for servers."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


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
