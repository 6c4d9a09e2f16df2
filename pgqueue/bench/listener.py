"""
What a handler's start is compared with: `python -m pgqueue.bench.listener [loop]`.

It hears bare notifications, the floor of latency. With `loop` it takes a row of a table at each, as
the shortest queue in psycopg would: listen, delete ... skip locked, handle, wait.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from pgqueue.bench.queries import statement
from pgqueue.bench.stamps import write_stamp
from pgqueue.connection import connect

__all__ = ["main"]


def main() -> None:
    """Listen until the standard input ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    name = "pgqueue bench listener"
    with connect(application_name=name) as connection, connect(application_name=name) as taker:
        connection.execute(statement("listen").encode())
        looping, take = "loop" in sys.argv[1:], statement("take_plain").encode()
        while True:
            for notify in connection.notifies(timeout=1.0):
                if not looping:
                    write_stamp(float(notify.payload), time.time())
                    continue
                for (sent,) in taker.execute(take, prepare=True).fetchall():
                    write_stamp(sent, time.time())


def _end_with_parent() -> None:
    while os.read(0, 4_096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
