"""
Stop a temporary server when the process that started it is gone, even by kill -9.

Runs as a script with a pipe as standard input, whose other end only that process holds. End of file
means that it is gone; any byte before that means that it has cleaned up itself. Imports nothing of
pgqueue: it must work while the installation is being changed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys


def main() -> None:
    """Wait for the pipe; arguments are the stop command, its user and what to remove, as JSON."""
    order = json.loads(sys.argv[1])
    if sys.stdin.buffer.read(1):
        return
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(  # noqa: PLW1510  # best effort, and removal follows either way
            order["stop"], cwd="/", timeout=60, stdin=subprocess.DEVNULL, **order["spawn_args"]
        )
    for path in order["remove"]:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
