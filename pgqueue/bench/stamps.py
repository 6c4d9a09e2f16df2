"""Times that handlers write down: pairs of doubles in a file that many processes append to."""

from __future__ import annotations

import os
import struct
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["VARIABLE", "read_stamps", "stamp_file", "write_stamp"]

# The environment variable that names the file.
VARIABLE = "PGQUEUE_BENCH_STAMPS"
_PAIR = struct.Struct("<dd")


@cache
def stamp_file() -> int:
    """The descriptor of the file; appends of 16 bytes do not mix."""
    return os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def write_stamp(sent: float, seen: float) -> None:
    """Note that what was sent at one time was seen at another."""
    os.write(stamp_file(), _PAIR.pack(sent, seen))


def read_stamps(path: Path) -> list[tuple[float, float]]:
    """All pairs so far."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = len(data) - len(data) % _PAIR.size
    return [(sent, seen) for sent, seen in _PAIR.iter_unpack(data[:whole])]
