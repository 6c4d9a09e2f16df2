"""`python -m pgqueue.bench.listener`: hears bare notifications, the floor of latency."""

from __future__ import annotations

import os
import threading
import time

from pgqueue.bench.queries import statement
from pgqueue.bench.stamps import write_stamp
from pgqueue.connection import connect

__all__ = ["main"]


def main() -> None:
    """Listen until the standard input ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with connect(application_name="pgqueue bench listener") as connection:
        connection.execute(statement("listen").encode())
        while True:
            for notify in connection.notifies(timeout=1.0):
                write_stamp(float(notify.payload), time.time())


def _end_with_parent() -> None:
    while os.read(0, 4_096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
