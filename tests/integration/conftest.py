"""Directories for servers."""

from __future__ import annotations

import shutil
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
