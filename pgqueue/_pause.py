"""
Named places where a test can stop a worker process, to kill it exactly there.

With PGQUEUE_TEST_PAUSE=after_claim in its environment a process that reaches that place says
`paused after_claim` on stderr and stops (SIGSTOP). Without it, reaching a place costs one test.
Used by tests/integration/test_worker_kill.py.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

__all__ = ["reach"]

_PAUSE = os.environ.get("PGQUEUE_TEST_PAUSE")


def reach(place: str) -> None:
    """Stop this process if the environment names *place*; SIGCONT lets it go on."""
    if _PAUSE is not None and place == _PAUSE:
        sys.stderr.write(f"paused {place}\n")
        sys.stderr.flush()
        # To this thread: sent to the process, another may take it, and this one commits meanwhile.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
