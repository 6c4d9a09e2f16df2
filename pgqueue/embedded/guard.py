"""The parent's end of the watchdog."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgqueue.embedded.home import Home

_DISMISS_SECONDS = 10.0


class Guard:
    """
    A process that stops and removes a temporary server once this process is gone.

    Args:
        home: The server's directory, which is removed.
        stop_command: Stops the server, as the server's user.
    """

    def __init__(self, home: Home, stop_command: list[str]) -> None:
        order = {
            "stop": stop_command,
            "spawn_args": home.account.spawn_args(),
            "remove": [str(home.path)],
        }
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                Path(__file__).with_name("watchdog.py"),
                json.dumps(order),
            ],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal must not end it
        )

    def dismiss(self) -> None:
        """Everything is cleaned up; end the watchdog."""
        with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
            self._process.communicate(b"x", timeout=_DISMISS_SECONDS)
